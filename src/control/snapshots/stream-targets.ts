import type { Random } from '../../base/clock.js';
import { messageOf } from '../../base/errors.js';
import type { Log } from '../../base/log.js';
import { randomUuid } from '../../base/uuid.js';
import type { Crc32c, StreamBegin } from '../../backup/stream-format.js';
import { checkSnapshotName, pointName } from '../../model/snapshot-name.js';
import type { SnapshotRow } from '../../model/snapshot-row.js';
import type { VolumeRow } from '../../model/volume-row.js';
import { checkBlockBytes, checkVolumeSize } from '../../model/volume-size.js';
import type { DataKey, LayerId, VolumeHandle, VolumeHost } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { refused, stepOf } from '../control-error.js';
import type { DataKeys } from '../data-keys.js';
import type { Exports } from '../exports.js';
import { findVolume } from '../find-volume.js';
import { isKeyNeeded } from '../key-needs.js';
import { DATA_KEYS_PER_VOLUME_MAX } from '../limits.js';
import { makeLayer } from '../make-layer.js';
import type { Retries } from '../retries.js';
import type { RowReferences } from '../row-references.js';
import type { CreateRequest, VolumeCreator } from '../volume-creator.js';
import { plainBlocksOf, type VolumeOpener } from '../volume-opener.js';
import type { VolumeRecord } from '../volume-record.js';
import { refuseConnected, wrongState } from '../volume-refusals.js';
import type { VolumeTable } from '../volume-table.js';
import type { SnapshotRecord } from './snapshot-record.js';
import type { SnapshotTable } from './snapshot-table.js';
import { snapshotExists } from './snapshot-taker.js';
import { openStreamKeys, type RecoverySource, type StreamKey, wipeKeys } from './stream-keys.js';
import type { Received, StreamTarget } from './stream-target.js';
import { StreamProver } from './stream-prover.js';
import { type KeyNumbers, StreamWriter } from './stream-writer.js';

export interface StreamTargetsDependencies {
  readonly table: VolumeTable;
  readonly snapshots: SnapshotTable;
  readonly references: RowReferences;
  readonly host: VolumeHost;
  readonly creator: VolumeCreator;
  readonly opener: VolumeOpener;
  readonly exports: Exports;
  readonly dataKeys: DataKeys;
  readonly retries: Retries;
  readonly random: Random;
  readonly log: Log;
  readonly crc32c: Crc32c;
}

/** Makes what streams are written into: a fresh volume, or the next state of one that has the snapshot before. */
export class StreamTargets {
  readonly #dependencies: StreamTargetsDependencies;

  constructor(dependencies: StreamTargetsDependencies) {
    this.#dependencies = dependencies;
  }

  /** Throws what is wrong with the wish, or with the volume that a difference is for. */
  async open(
    request: CreateRequest,
    begin: StreamBegin,
    recovery: RecoverySource | null,
    caller: Caller,
  ): Promise<StreamTarget> {
    let keys: readonly StreamKey[] = [];
    try {
      checkSnapshotName(begin.snapshot.name);
      checkVolumeSize(begin.sizeBytes, checkBlockBytes(begin.blockBytes));
      if (begin.mode === 'sealed') keys = await openStreamKeys(begin, recovery, this.#dependencies.dataKeys);
      const { from } = begin;
      return await (from === null
        ? this.#fresh(request, begin, keys, caller)
        : this.#next(request.name, begin, from, keys));
    } finally {
      recovery?.passphrase.fill(0);
      wipeKeys(keys);
    }
  }

  async #fresh(
    request: CreateRequest,
    begin: StreamBegin,
    keys: readonly StreamKey[],
    caller: Caller,
  ): Promise<StreamTarget> {
    const { creator, host, snapshots, opener, random, crc32c } = this.#dependencies;
    const { sizeBytes, blockBytes } = begin;
    const prover = new StreamProver(keys);
    const making = await creator.prepare({ ...request, sizeBytes, blockBytes }, caller, null, keys);
    const numbers: KeyNumbers = new Map(keys.map(({ number }, n) => [number, making.row.dataKeyNumbers[n]]));
    let handle: VolumeHandle;
    try {
      handle = making.open();
    } catch (thrown) {
      await making.undo();
      throw thrown;
    }
    return {
      writer: new StreamWriter(handle, { numbers, crc32c }),
      prover,
      commit: async () => {
        const layer = making.row.layer as LayerId;
        const [head] = await stepOf('freeze volume', host.freeze([layer]));
        const row = receivedRow(making.row, begin, layer, randomUuid(random));
        const record = await stepOf('store volume', making.commit(head, snapshots.insertion([row])));
        const [snapshot] = snapshots.inserted([row], record.revision);
        opener.adopt(record, handle);
        return { record, snapshot };
      },
      undo: () => making.undo(),
    };
  }

  /**
   * What comes is written into a new head of the snapshot that both sides have. Nobody is kept from the volume meanwhile;
   * at the end it must still be what it was, or the difference is not taken.
   */
  async #next(
    name: string,
    begin: StreamBegin,
    from: { id: string; name: string },
    keys: readonly StreamKey[],
  ): Promise<StreamTarget> {
    const { table } = this.#dependencies;
    const record = findVolume(table, name, 'live');
    return record.mutex.run(async () => {
      const base = await this.#check(record, begin, from);
      const check = (): Promise<SnapshotRecord> => this.#check(record, begin, from);
      return NextState.open({ record, base, begin, keys }, check, this.#dependencies);
    });
  }

  /** The snapshot that the difference starts from, if the volume is exactly that. */
  async #check(record: VolumeRecord, begin: StreamBegin, from: { id: string; name: string }): Promise<SnapshotRecord> {
    const { snapshots, host, exports } = this.#dependencies;
    if (record.row.phase !== 'live') throw wrongState(record, 'received into');
    const volume = record.displayName;
    const base = this.#newest(record);
    if (base?.row.streamId !== from.id) {
      const newest = base === undefined ? 'has no snapshot' : `stands on ${pointName(volume, base.row.name)}`;
      const has = snapshots.liveOf(record.id).find(({ row }) => row.streamId === from.id);
      const otherwise =
        has === undefined
          ? 'receive the whole snapshot into a fresh volume'
          : `\`gfs volume revert ${pointName(volume, has.row.name)}\` puts it back to where the stream begins`;
      throw refused(
        'changed',
        `the stream begins with snapshot "${from.name}" of its sender, and volume ${volume} ${newest}; ${otherwise}`,
      );
    }
    if (snapshots.named(record.id, begin.snapshot.name) !== undefined)
      throw snapshotExists(record, begin.snapshot.name);
    if (base.row.blockBytes !== begin.blockBytes) {
      throw refused(
        'changed',
        `volume ${volume} has blocks of ${base.row.blockBytes} bytes, the stream ${begin.blockBytes}`,
      );
    }
    refuseConnected(record, exports, `drop them with \`gfs volume kick ${volume}\`: the volume changes as a whole`);
    const changed = await stepOf('compare volume', host.diff(layerOf(base), record.row.layer as LayerId, 0, 1));
    if (changed.ranges.length === 0) return base;
    const point = pointName(volume, base.row.name);
    throw refused(
      'changed',
      `volume ${volume} was written since ${point}; \`gfs volume revert ${point}\` puts it back to that, and keeps what it holds`,
    );
  }

  /** The snapshot that the volume's head was made from, whatever was deleted in between. */
  #newest(record: VolumeRecord): SnapshotRecord | undefined {
    const layers = new Map(this.#dependencies.host.layers().map((layer) => [layer.layer, layer]));
    const own = new Map(this.#dependencies.snapshots.liveOf(record.id).map((one) => [layerOf(one), one]));
    for (let at = layers.get(record.row.layer as LayerId)?.parent ?? null; at !== null;) {
      const found = own.get(at);
      if (found !== undefined) return found;
      at = layers.get(at)?.parent ?? null;
    }
    return undefined;
  }
}

/** The next state of a volume, in a layer of its own until it is whole. */
class NextState implements StreamTarget {
  readonly writer: StreamWriter;
  readonly prover: StreamProver;
  readonly #record: VolumeRecord;
  readonly #begin: StreamBegin;
  readonly #note: string;
  /** The volume's row when the layer was opened, with the keys that came with the stream: its blocks are sealed as that says. */
  readonly #opened: VolumeRow;
  /** Numbers of the keys that came with the stream, and that the volume did not have. */
  readonly #adopted: readonly number[];
  readonly #layer: LayerId;
  readonly #handle: VolumeHandle;
  readonly #check: () => Promise<SnapshotRecord>;
  readonly #dependencies: StreamTargetsDependencies;
  /** The volume has what came: nothing of it is to be undone. */
  #isStored = false;

  private constructor(
    parts: {
      record: VolumeRecord;
      begin: StreamBegin;
      note: string;
      layer: LayerId;
      handle: VolumeHandle;
      adopted: readonly number[];
      numbers: KeyNumbers;
      prover: StreamProver;
    },
    check: () => Promise<SnapshotRecord>,
    dependencies: StreamTargetsDependencies,
  ) {
    this.#record = parts.record;
    this.#adopted = parts.adopted;
    const { row } = parts.record;
    this.#opened = { ...row, dataKeyNumbers: [...parts.adopted, ...row.dataKeyNumbers] };
    this.prover = parts.prover;
    this.#begin = parts.begin;
    this.#note = parts.note;
    this.#layer = parts.layer;
    this.#handle = parts.handle;
    this.writer = new StreamWriter(parts.handle, { numbers: parts.numbers, crc32c: dependencies.crc32c });
    this.#check = check;
    this.#dependencies = dependencies;
  }

  /** Under the volume's mutex. */
  static async open(
    {
      record,
      base,
      begin,
      keys,
    }: { record: VolumeRecord; base: SnapshotRecord; begin: StreamBegin; keys: readonly StreamKey[] },
    check: () => Promise<SnapshotRecord>,
    dependencies: StreamTargetsDependencies,
  ): Promise<NextState> {
    refuseForeign(record, keys.length);
    const { table, host, dataKeys, random } = dependencies;
    // It is written under the volume's own keys, by a writer that nobody was before.
    await stepOf('store volume', table.change(record, { ...record.row, epoch: record.row.epoch + 1 }));
    const { row } = record;
    const note = randomUuid(random);
    await stepOf('note head', table.announce(note));
    let layer: LayerId | null = null;
    const own: DataKey[] = [];
    const adopted: DataKey[] = [];
    try {
      own.push(...(await stepOf('load data keys', dataKeys.load(row.dataKeyNumbers))));
      const numbers = new Map<number, number>();
      for (const key of keys) {
        // A volume that comes home, or gets its next difference, has it already.
        let known = own.find(({ secret }) => Buffer.from(secret).equals(key.secret));
        if (known === undefined) adopted.push((known = await stepOf('keep data key', dataKeys.adopt(key))));
        numbers.set(key.number, known.number);
      }
      layer = await stepOf('make layer', makeLayer(dependencies, begin, layerOf(base)));
      const prover = new StreamProver(keys);
      // The last of its own seals what clients write.
      const all = [...adopted, ...own];
      const handle = host.open({ volumeId: row.id, layer, epoch: row.epoch, keys: all, plain: plainBlocksOf(row) });
      const parts = {
        record,
        begin,
        note,
        layer,
        handle,
        adopted: adopted.map(({ number }) => number),
        numbers,
        prover,
      };
      return new NextState(parts, check, dependencies);
    } catch (thrown) {
      const numbers = adopted.map(({ number }) => number);
      await clear(dependencies, note, layer === null ? [] : [layer], numbers);
      throw thrown;
    } finally {
      wipeKeys([...adopted, ...own]);
    }
  }

  commit(): Promise<Received> {
    return this.#record.mutex.run(() => this.#commit());
  }

  async undo(): Promise<void> {
    if (this.#isStored) return;
    await this.#handle.close();
    const { host } = this.#dependencies;
    // The head that a freeze has made of it goes before it.
    const heads = host.layers().filter(({ parent }) => parent === this.#layer);
    const layers = [...heads.map(({ layer }) => layer), this.#layer];
    await clear(this.#dependencies, this.#note, layers, this.#adopted);
  }

  async #commit(): Promise<Received> {
    const { opener, exports } = this.#dependencies;
    const record = this.#record;
    const before = record.row.layer as LayerId;
    // 1. Nobody comes in from here on, and the volume is still what the stream begins with.
    const closing = exports.close(record.id);
    let snapshot: SnapshotRecord;
    try {
      await closing;
      await this.#check();
      snapshot = await this.#store();
    } catch (thrown) {
      opener.offer(record);
      throw thrown;
    }
    // 3. The old head is nobody's.
    await this.#serve();
    await clear(this.#dependencies, this.#note, [before], []);
    return { record, snapshot };
  }

  /** 2. What came is a snapshot, and the volume goes on behind it. */
  async #store(): Promise<SnapshotRecord> {
    const { table, snapshots, host, random } = this.#dependencies;
    const record = this.#record;
    const [head] = await stepOf('freeze volume', host.freeze([this.#layer]));
    const { sizeBytes } = this.#begin;
    const used = this.#opened.dataKeyNumbers.filter((number) => !record.row.dataKeyNumbers.includes(number));
    const dataKeyNumbers = [...used, ...record.row.dataKeyNumbers];
    const plainBlocks = record.row.plainBlocks || this.#opened.plainBlocks;
    const next: VolumeRow = { ...record.row, layer: head, sizeBytes, dataKeyNumbers, plainBlocks };
    const row = receivedRow(next, this.#begin, this.#layer, randomUuid(random));
    await stepOf('store volume', table.changeTogether([{ record, next }], snapshots.insertion([row])));
    this.#isStored = true;
    const [snapshot] = snapshots.inserted([row], record.revision);
    return snapshot;
  }

  /** Serves the volume from the layer that came. The volume has it already, so a failure is its state, as at a start. */
  async #serve(): Promise<void> {
    const { opener, log } = this.#dependencies;
    const record = this.#record;
    const old = record.handle;
    const hasSameKeys = hasKeysOf(record.row, this.#opened);
    record.move({ state: 'closed' });
    for (const handle of hasSameKeys ? [old] : [old, this.#handle]) {
      await handle?.close().catch((thrown: unknown) => {
        log.warn({ volume: record.row.name, error: messageOf(thrown) }, 'a replaced volume could not be closed');
      });
    }
    if (hasSameKeys) opener.adopt(record, this.#handle);
    // Its keys were changed meanwhile: new writes go under the new one.
    else await opener.reopenOrRetry(record);
  }
}

/** Drops layers that nobody shows and their keys, then the note that explains them; what resists is tried again later. */
async function clear(
  dependencies: StreamTargetsDependencies,
  note: string,
  layers: readonly LayerId[],
  keyNumbers: readonly number[],
): Promise<void> {
  const { host, table, dataKeys, retries, log } = dependencies;
  const work = async (): Promise<void> => {
    for (const layer of layers) await host.dropLayer(layer);
    await dataKeys.erase(keyNumbers.filter((number) => !isKeyNeeded(dependencies, number)));
    await table.withdraw([note]);
  };
  try {
    await work();
  } catch (thrown) {
    log.warn({ error: messageOf(thrown) }, 'what a stream left could not be removed yet');
    retries.failed(`remains of received stream ${note}`, thrown, work);
  }
}

/** Sealed blocks are for volumes with encryption, whose new writes have a key of their own. */
function refuseForeign({ row, displayName }: VolumeRecord, count: number): void {
  if (count === 0) return;
  if (!row.encrypted) {
    throw refused(
      'state',
      `volume ${displayName} is without encryption, and the stream is sealed; send with --decrypt`,
    );
  }
  if (row.dataKeyNumbers.length + count <= DATA_KEYS_PER_VOLUME_MAX) return;
  throw refused('state', `volume ${displayName} has blocks under too many data keys to take those of a stream`);
}

function hasKeysOf(row: VolumeRow, other: VolumeRow): boolean {
  return row.encrypted === other.encrypted && row.dataKeyNumbers.at(-1) === other.dataKeyNumbers.at(-1);
}

function layerOf({ row }: SnapshotRecord): LayerId {
  return row.layer as LayerId;
}

/** A received snapshot keeps the date of its sender: it says when the data was so. */
function receivedRow(volume: VolumeRow, begin: StreamBegin, layer: LayerId, id: string): SnapshotRow {
  return {
    id,
    name: begin.snapshot.name,
    volumeId: volume.id,
    layer,
    sizeBytes: begin.sizeBytes,
    blockBytes: begin.blockBytes,
    createdAtMs: begin.snapshot.createdAtMs,
    epoch: volume.epoch,
    dataKeyNumbers: volume.dataKeyNumbers,
    encrypted: volume.encrypted,
    plainBlocks: volume.plainBlocks,
    held: false,
    origin: 'manual',
    labels: {},
    exported: false,
    streamId: begin.snapshot.id,
    phase: 'live',
  };
}

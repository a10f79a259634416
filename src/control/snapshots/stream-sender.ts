import { FRAME_DATA_BYTES_MAX, FRAME_SEALED_BYTES_MAX, STREAM_KEYS_MAX } from '../../backup/limits.js';
import { StreamEncoder } from '../../backup/stream-encoder.js';
import { type Crc32c, sealedBytesOf, type PlainBegin, type SealedBegin } from '../../backup/stream-format.js';
import type { KeyVault } from '../../crypto/data-key-vault.js';
import { streamMacKeyOf, streamMacOf } from '../../crypto/stream-mac.js';
import { Operation, RequestFlag } from '../../device/block-device.js';
import { submitAndWait } from '../../device/submit-and-wait.js';
import { renumberSealed } from '../../volume/sealed-blocks.js';
import type { ChangedRange } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { ControlError, refused, stepOf } from '../control-error.js';
import type { DataKeys, WrappedDataKey } from '../data-keys.js';
import type { EventLog } from '../event-log.js';
import { IMAGE_READS_AHEAD_MAX } from '../limits.js';
import type { Transfers } from '../transfers.js';
import { eventOf } from '../volume-event.js';
import { findSnapshot, nameOf, type PointSources, type SnapshotPoint } from './find-point.js';
import type { SnapshotDiffs } from './snapshot-diffs.js';
import type { SnapshotReader, SnapshotReaders } from './snapshot-readers.js';

export interface SendRequest {
  /** VOLUME@SNAPSHOT. */
  readonly snapshot: string;
  /** VOLUME@SNAPSHOT that the receiver has; '': everything is sent. */
  readonly from: string;
  /** What is encrypted leaves in the clear. */
  readonly decrypt: boolean;
}

export interface StreamSenderDependencies extends PointSources {
  readonly dataKeys: DataKeys;
  readonly vault: KeyVault;
  readonly diffs: SnapshotDiffs;
  readonly readers: SnapshotReaders;
  readonly transfers: Transfers;
  readonly events: EventLog;
  readonly crc32c: Crc32c;
}

/** Turns a snapshot, or what changed up to it, into a stream. */
export class StreamSender {
  readonly #nodeId: string;
  readonly #dependencies: StreamSenderDependencies;

  constructor(options: { readonly nodeId: string }, dependencies: StreamSenderDependencies) {
    this.#nodeId = options.nodeId;
    this.#dependencies = dependencies;
  }

  /** The bytes of the stream. Ends with an error rather than with an end mark when something cannot be read. */
  async *send(request: SendRequest, caller: Caller): AsyncGenerator<Buffer, void, void> {
    const to = this.#live(request.snapshot);
    const from = request.from === '' ? null : this.#live(request.from);
    this.#check(from, to, request);
    const { transfers, readers, diffs, events, crc32c } = this.#dependencies;
    const difference = diffs.open(request.from, request.snapshot);
    const ended = transfers.begin();
    let reader: SnapshotReader | null = null;
    let seal: StreamSeal | null = null;
    try {
      if (isSealed(to, request)) seal = await this.#seal(to);
      reader = await readers.acquire(to.snapshot);
      const what = from === null ? nameOf(to) : `${nameOf(to)} since ${nameOf(from)}`;
      events.append({ ...eventOf(to.record, caller), kind: 'snapshot.sent', message: `${what} is sent` });
      const encoder = new StreamEncoder(crc32c);
      yield encoder.begin(
        seal === null ? { mode: 'plain', ...beginOf(from, to) } : { ...seal.begin, ...beginOf(from, to) },
      );
      // What is not said is zeros when the stream begins with nothing.
      const skipZeros = from === null;
      const source: Source = { reader, name: nameOf(to), isSealed: seal !== null };
      for await (const piece of readPieces(difference.pages, source, skipZeros)) {
        const { offsetBytes, lengthBytes, data } = piece;
        if (data === null) yield encoder.zero(offsetBytes, lengthBytes);
        else if (seal === null) yield encoder.data(offsetBytes, data);
        else {
          this.#demandKeys(data, seal, to);
          yield encoder.sealed(offsetBytes, lengthBytes, data);
        }
      }
      const macKey = seal?.macKey;
      yield encoder.end(macKey === undefined ? null : (digest) => streamMacOf(macKey, digest));
    } finally {
      seal?.macKey.fill(0);
      await reader?.release();
      ended();
    }
  }

  #live(reference: string): SnapshotPoint {
    const point = findSnapshot(this.#dependencies, reference);
    if (point.snapshot.row.phase === 'live') return point;
    throw refused('state', `snapshot ${nameOf(point)} cannot be sent: it is being deleted`);
  }

  #check(from: SnapshotPoint | null, to: SnapshotPoint, request: SendRequest): void {
    if (from?.snapshot === to.snapshot) throw refused('unrelated', `${nameOf(to)} does not differ from itself`);
    const { row } = to.snapshot;
    if (!isSealed(to, request)) return;
    const inTheClear =
      'with --decrypt it is sent in the clear: keep such a stream where you would keep the data itself';
    if (row.plainBlocks || !row.encrypted) {
      throw refused(
        'state',
        `${nameOf(to)} has blocks with and without encryption, so it cannot be sent as it is sealed; ` +
          `\`gfs key status\` shows whether they are being sealed; ${inTheClear}`,
      );
    }
    if (row.dataKeyNumbers.length <= STREAM_KEYS_MAX) return;
    throw refused(
      'state',
      `${nameOf(to)} has blocks under ${row.dataKeyNumbers.length} data keys, and a stream carries at most ` +
        `${STREAM_KEYS_MAX}; \`gfs key status\` shows how far they are being sealed anew; ${inTheClear}`,
    );
  }

  /** What a sealed stream says of its keys, and what proves it. */
  async #seal({ snapshot }: SnapshotPoint): Promise<StreamSeal> {
    const { dataKeys, vault } = this.#dependencies;
    const { dataKeyNumbers } = snapshot.row;
    const keys = await stepOf('load data keys', dataKeys.load(dataKeyNumbers));
    try {
      const last = keys.at(-1) as WrappedDataKey;
      const masterKeyId = (await vault.masterKey().catch(() => null))?.id ?? '';
      const wrapped = keys.map(({ number, record }) => ({ number, record: Buffer.from(record).toString('base64') }));
      return {
        begin: { mode: 'sealed', nodeId: this.#nodeId, masterKeyId, keys: wrapped },
        numbers: new Map(dataKeyNumbers.map((number) => [number, number])),
        macKey: streamMacKeyOf(last.secret),
      };
    } finally {
      for (const { secret } of keys) secret.fill(0);
    }
  }

  /** Blocks may have been sealed anew since the stream began. */
  #demandKeys(sealed: Uint8Array, { numbers }: StreamSeal, to: SnapshotPoint): void {
    const { blockBytes } = to.snapshot.row;
    const known = renumberSealed(sealed, blockBytes, numbers, { crc32c: this.#dependencies.crc32c });
    if (known * sealedBytesOf(blockBytes) === sealed.length) return;
    throw refused('changed', `${nameOf(to)} was sealed under another data key while it was sent; send it again`);
  }
}

function isSealed({ snapshot }: SnapshotPoint, { decrypt }: SendRequest): boolean {
  return snapshot.row.dataKeyNumbers.length > 0 && !decrypt;
}

interface StreamSeal {
  readonly begin: Pick<SealedBegin, 'mode' | 'nodeId' | 'masterKeyId' | 'keys'>;
  /** Of the keys in BEGIN. */
  readonly numbers: ReadonlyMap<number, number>;
  readonly macKey: Uint8Array;
}

interface Source {
  readonly reader: SnapshotReader;
  readonly name: string;
  readonly isSealed: boolean;
}

interface Piece {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Bytes of plaintext, or of sealed blocks; null: zeros. */
  readonly data: Uint8Array | null;
}

/** The ranges in order, in pieces that fit a frame; a few are read ahead, no more while the consumer is slow. */
async function* readPieces(
  pages: AsyncGenerator<readonly ChangedRange[], void, void>,
  source: Source,
  skipZeros: boolean,
): AsyncGenerator<Piece, void, void> {
  const ahead: Promise<Piece | ControlError>[] = [];
  const next = async (): Promise<Piece> => {
    const piece = (await ahead.shift()) as Piece | ControlError;
    if (piece instanceof ControlError) throw piece;
    return piece;
  };
  for await (const ranges of pages) {
    for (const range of ranges) {
      if (!range.data && skipZeros) continue;
      for (const piece of cut(range, source.isSealed ? FRAME_SEALED_BYTES_MAX : FRAME_DATA_BYTES_MAX)) {
        ahead.push(range.data ? readPiece(source, piece) : Promise.resolve(piece));
        if (ahead.length >= IMAGE_READS_AHEAD_MAX) yield await next();
      }
    }
  }
  while (ahead.length > 0) yield await next();
}

/** Zeros have no bytes, and need no cutting. */
function* cut({ offsetBytes, lengthBytes, data }: ChangedRange, dataBytesMax: number): Generator<Piece, void, void> {
  const step = data ? dataBytesMax : lengthBytes;
  for (let done = 0; done < lengthBytes; done += step) {
    yield { offsetBytes: offsetBytes + done, lengthBytes: Math.min(step, lengthBytes - done), data: null };
  }
}

/** Resolves to an error instead of rejecting: nobody may be waiting yet. */
async function readPiece({ reader, name, isSealed }: Source, piece: Piece): Promise<Piece | ControlError> {
  const { offsetBytes, lengthBytes } = piece;
  const data = new Uint8Array(isSealed ? sealedBytesOf(lengthBytes) : lengthBytes);
  const flags = isSealed ? RequestFlag.SEALED : 0;
  const request = { operation: Operation.READ, offsetBytes, lengthBytes, flags, data, dataOffset: 0 };
  const fault = await submitAndWait(reader.handle, request);
  if (fault === null) return { ...piece, data };
  const detail = fault.code === 'IO' ? fault.detail : fault.code === 'CLOSED' ? 'it was deleted' : fault.code;
  return new ControlError(`${name} cannot be read at offset ${offsetBytes}: ${detail}`, {
    code: 'DAMAGED',
    subject: name,
  });
}

function beginOf(from: SnapshotPoint | null, { record, snapshot }: SnapshotPoint): Omit<PlainBegin, 'mode'> {
  const { row } = snapshot;
  return {
    volume: { id: record.id, name: record.displayName },
    snapshot: { id: row.streamId, name: row.name, createdAtMs: row.createdAtMs },
    from: from === null ? null : { id: from.snapshot.row.streamId, name: from.snapshot.row.name },
    sizeBytes: row.sizeBytes,
    blockBytes: row.blockBytes,
    encrypted: row.encrypted,
  };
}

import { assert } from '../base/assert.js';
import { messageOf } from '../base/errors.js';
import { UnderWay } from '../base/under-way.js';
import { type BlockRequest, type DeviceFault, type Extent, Operation, RequestFlag } from '../device/block-device.js';
import { DeviceError } from '../device/device-error.js';
import { PLAIN_KEY_NUMBER, type BlockKeys, type KeyringId } from '../io/block-keys.js';
import { storedBytesOf } from '../io/record-layout.js';
import type { Engine } from './engine.js';
import { LEAF_BLOCKS } from './limits.js';
import { UNLOADED } from './location.js';
import { childrenOf, shownLayer } from './map/layer-tree.js';
import type { Layer } from './map/layer.js';
import type { ReadQueue, ReadSource } from './read-queue.js';
import type { SealingKey } from './sealing-keys.js';
import type { WriteSource } from './queued-change.js';
import type { WriteQueue } from './write-queue.js';

export interface HeadOptions extends HeadKeys {
  readonly layer: number;
  /** Greater than every epoch under which this layer was written before. */
  readonly epoch: number;
}

/** refused: every block must be encrypted. read: blocks that are not may be there, new ones are. written: new ones are not. */
export type PlainBlocks = 'refused' | 'read' | 'written';

export interface HeadKeys {
  /** Every key its blocks may be sealed with; new writes use the last, unless `plain` says that they are not encrypted. */
  readonly keys: readonly DataKey[];
  /** Absent: 'written' without keys, 'refused' with them. */
  readonly plain?: PlainBlocks;
}

export interface DataKey {
  /** 1 to 2^32-1, unique on the node, never reused. */
  readonly number: number;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

export interface HeadDependencies {
  readonly reads: ReadQueue;
  readonly writes: WriteQueue;
  /** null while the store reopens. */
  readonly engine: () => Engine | null;
  /** Resolves when the store serves again; rejects when it is closed. */
  readonly whenReady: () => Promise<Engine>;
  readonly keys: BlockKeys;
}

/**
 * The way into the one writable layer of a volume, or, for reading alone, into a frozen one. Takes block-aligned requests only; alignment, ranges against the
 * volume's size and the order of read-modify-writes are the volume's business.
 */
export class Head implements ReadSource, WriteSource {
  layerId: number;
  /** Its layer before the last snapshot, until a store that was reopened has shown that the snapshot lasted; else 0. */
  #layerBefore = 0;
  readonly #io: HeadDependencies;
  readonly epoch: number;
  // Rebound when the store reopens, so that requests which waited go through the new engine.
  layer: Layer;
  // These three change together: requests take them in the turn in which they go to the kernel, never before.
  #keyNumber: number;
  sealing: SealingKey;
  keyring: KeyringId;
  /** Acknowledged writes were lost when the store reopened: the next flush must say so. */
  #lost = false;
  #closed = false;
  readonly reads = new UnderWay();

  constructor(options: HeadOptions, engine: Engine, dependencies: HeadDependencies) {
    this.layerId = options.layer;
    this.epoch = options.epoch;
    this.#io = dependencies;
    this.layer = layerOf(engine, options.layer);
    this.#keyNumber = sealingNumberOf(options);
    this.keyring = makeKeyring(dependencies.keys, options);
    try {
      this.sealing = engine.sealing.hold(this.keyring, this.#keyNumber);
    } catch (thrown) {
      dependencies.keys.releaseKeyring(this.keyring);
      throw thrown;
    }
  }

  /**
   * Gives it other keys while it is in use: copies them, has `decided` make the change durable, and from that turn on
   * seals every write with the new key. Requests keep their order and none fails: what is with the kernel has its keys.
   * Resolves when no write under the key before is under way any more. Rejects as `decided` does, with nothing changed,
   * and with DeviceError CLOSED.
   */
  async rekey(next: HeadKeys, decided: () => Promise<void>): Promise<void> {
    const { keys } = this.#io;
    const number = sealingNumberOf(next);
    const keyring = makeKeyring(keys, next);
    try {
      await decided();
      if (this.#closed) throw new DeviceError('the volume is closed', { code: 'CLOSED' });
      const engine = this.#io.engine();
      // A store that reopens binds this head to its new engine, and takes the sealing key then.
      if (engine !== null) {
        const sealing = engine.sealing.hold(keyring, number);
        engine.sealing.letGo(this.sealing);
        this.sealing = sealing;
      }
    } catch (thrown) {
      keys.releaseKeyring(keyring);
      throw thrown;
    }
    keys.releaseKeyring(this.keyring);
    this.keyring = keyring;
    this.#keyNumber = number;
    await new Promise<void>((resolve) => {
      this.fence(resolve);
    });
  }

  /** A snapshot froze its layer: from here on it is the way into the child. */
  moveTo(child: Layer): void {
    this.#layerBefore = this.layerId;
    this.layer = child;
    this.layerId = child.id;
  }

  /** Binds to a reopened engine. */
  rebind(engine: Engine): void {
    const newest = this.layer.newest;
    // A snapshot whose record was lost has not been taken.
    if (!engine.map.layers.has(this.layerId) && this.#layerBefore !== 0) this.layerId = this.#layerBefore;
    this.#layerBefore = 0;
    const wrote = this.layer.state === 'head';
    this.layer = layerOf(engine, this.layerId);
    if (wrote && this.layer.state !== 'head') {
      // The append of a snapshot failed, yet its record is there: the snapshot has been taken, and its child is the head.
      this.layer = childrenOf(engine.map.layers, this.layer).reduce((a, b) => (b.id > a.id ? b : a));
      this.layerId = this.layer.id;
    }
    this.sealing = engine.sealing.hold(this.keyring, this.#keyNumber);
    if (newest >= engine.recovery.sequence) this.#lost = true;
  }

  get blockBytes(): number {
    return this.layer.blockBytes;
  }

  get sizeBytes(): number {
    return this.layer.sizeBlocks * this.layer.blockBytes;
  }

  get allocatedBytes(): number {
    return this.layer.mappedBlocks * this.layer.blockBytes;
  }

  /**
   * Takes a request. Reads and changes are aligned to blocks and inside the layer. `bound`: a part of a
   * larger change that was made from blocks that were read here; it fails if the store reopens before it is in the journal.
   */
  submit(request: BlockRequest, bound = false): void {
    const refusal = this.#refusal() ?? this.#behindEnd(request);
    if (refusal !== null) {
      request.done(refusal);
      return;
    }
    switch (request.operation) {
      case Operation.FLUSH:
        this.#flush(request);
        break;
      case Operation.READ:
        this.#checkRange(request);
        this.#io.reads.submit(request, this);
        break;
      case Operation.CACHE:
        request.done(null);
        break;
      default:
        if (this.layer.state !== 'head') {
          request.done({ code: 'READ_ONLY' });
          return;
        }
        this.#checkRange(request);
        if (request.operation === Operation.WRITE && (request.flags & RequestFlag.SEALED) !== 0) {
          const forged = this.#forged(request);
          if (forged !== null) {
            request.done(forged);
            return;
          }
        }
        this.#io.writes.submit(request, this, bound);
    }
  }

  /** Of sealed blocks that are to be written: the fault of the first that is not what was sealed there; null: none. */
  #forged({ data, dataOffset, offsetBytes, lengthBytes }: BlockRequest): DeviceFault | null {
    const { blockBytes } = this;
    const first = offsetBytes / blockBytes;
    const count = lengthBytes / blockBytes;
    const sealed = data.subarray(dataOffset, dataOffset + count * storedBytesOf(blockBytes));
    const proven = this.#io.keys.proveSealed(this.keyring, sealed, blockBytes, first);
    if (proven === count) return null;
    const detail = `block ${first + proven} is not what was sealed there under a key of this volume`;
    return { code: 'UNAUTHENTIC', detail };
  }

  #refusal(): DeviceFault | null {
    if (this.#closed || this.layer.gone || this.layer.hidden) return { code: 'CLOSED' };
    if (this.layer.damage !== '') return { code: 'IO', detail: this.layer.damage };
    return null;
  }

  /** A growth that was not durable yet is lost when the disk fails, while requests to what it added are under way. */
  #behindEnd({ offsetBytes, lengthBytes }: BlockRequest): DeviceFault | null {
    if (offsetBytes + lengthBytes <= this.sizeBytes) return null;
    return { code: 'IO', detail: 'the volume is smaller again: the disk failed before its growth was durable' };
  }

  #checkRange(request: BlockRequest): void {
    const { offsetBytes, lengthBytes } = request;
    assert(offsetBytes % this.blockBytes === 0 && lengthBytes % this.blockBytes === 0, 'a head takes whole blocks');
    assert(lengthBytes > 0, 'a head takes no empty changes and reads');
  }

  /** Waits until everything acknowledged on this head is durable. */
  #flush(request: BlockRequest): void {
    const engine = this.#io.engine();
    if (engine === null) {
      this.#io.whenReady().then(
        () => {
          this.submit(request);
        },
        () => {
          request.done({ code: 'CLOSED' });
        },
      );
      return;
    }
    if (this.#lost) {
      this.#lost = false;
      request.done({ code: 'IO', detail: 'the disk lost acknowledged writes; see the log' });
      return;
    }
    engine.journal.sync(this.layer.newest, (failure) => {
      request.done(failure === null ? null : { code: 'IO', detail: failure.message });
    });
  }

  /** Calls `done` when every change accepted before is published and visible to reads. */
  fence(done: () => void): void {
    this.#io.writes.fence(this, done);
  }

  /** Allocation of `count` blocks from `first`: runs in order, at most `extentsMax` of them. */
  async extents(first: number, count: number, extentsMax: number): Promise<Extent[]> {
    const found: { lengthBytes: number; allocated: boolean }[] = [];
    const { blockBytes } = this;
    let engine = await this.#io.whenReady();
    let block = first;
    const end = first + count;
    while (block < end) {
      const refusal = this.#refusal();
      if (refusal !== null) throw new DeviceError('the volume is not readable', refusal);
      engine = this.#io.engine() ?? (await this.#io.whenReady());
      const { map } = engine;
      const leaf = Math.floor(block / LEAF_BLOCKS);
      if (map.isVoid(this.layer, leaf)) {
        const next = map.skipVoid(this.layer, block, end);
        if (!extend(found, (next - block) * blockBytes, false, extentsMax)) return found;
        block = next;
        continue;
      }
      const location = map.locate(this.layer, block);
      if (location === UNLOADED) {
        await this.#fetch(engine, leaf);
        continue;
      }
      if (!extend(found, blockBytes, location > 0, extentsMax)) return found;
      block += 1;
    }
    return found;
  }

  #fetch(engine: Engine, leaf: number): Promise<void> {
    return new Promise((resolve, reject) => {
      engine.map.fetch(this.layer, leaf, (failure) => {
        if (failure === null) resolve();
        else reject(new DeviceError(failure.message, { code: 'IO', detail: failure.message }, { cause: failure }));
      });
    });
  }

  /** Refuses requests from now on; what was accepted is completed. */
  close(): void {
    this.#closed = true;
  }

  /** Its layer is not in the reopened store: what waits is refused, for its old map must not meet the new one. */
  orphan(): void {
    this.#closed = true;
    this.layer.state = 'dropped';
  }

  /** Wipes the keys; nothing may be under way any more. */
  release(): void {
    this.#io.engine()?.sealing.letGo(this.sealing);
    this.#io.keys.releaseKeyring(this.keyring);
  }

  /** Resolves when everything accepted has been completed. */
  async drain(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.fence(resolve);
    });
    await this.reads.ended();
  }
}

/** The data key that new writes are sealed with. */
function sealingNumberOf({ keys, plain }: HeadKeys): number {
  const last = keys.at(-1);
  assert(plain === undefined || plain === 'written' || last !== undefined, 'encrypted writes have a key');
  return last === undefined || plain === 'written' ? PLAIN_KEY_NUMBER : last.number;
}

function makeKeyring(blockKeys: BlockKeys, { keys, plain }: HeadKeys): KeyringId {
  const keyring = blockKeys.createKeyring(plain === undefined ? keys.length === 0 : plain !== 'refused');
  try {
    for (const key of keys) blockKeys.addDataKey(keyring, key.number, key.secret);
    return keyring;
  } catch (thrown) {
    blockKeys.releaseKeyring(keyring);
    throw thrown;
  }
}

function layerOf(engine: Engine, id: number): Layer {
  try {
    return shownLayer(engine.map.layers, id);
  } catch (thrown) {
    const detail = messageOf(thrown);
    throw new DeviceError(detail, { code: 'IO', detail });
  }
}

/** Adds a run; false when it would need one extent too many. */
function extend(
  found: { lengthBytes: number; allocated: boolean }[],
  lengthBytes: number,
  allocated: boolean,
  extentsMax: number,
): boolean {
  const last = found.at(-1);
  if (last?.allocated === allocated) {
    last.lengthBytes += lengthBytes;
    return true;
  }
  if (found.length === extentsMax) return false;
  found.push({ lengthBytes, allocated });
  return true;
}

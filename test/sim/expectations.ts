/**
 * What the promises allow. The journal's own order is the one history (P3); every answer that a client gets, and
 * everything that a start finds, is held against it:
 *
 *   - no byte of a volume changes in the journal unless a request that is under way writes it;
 *   - a write is acknowledged only when the journal holds it (published after append);
 *   - a read returns, block by block, something that was there between its submission and its answer;
 *   - a start finds exactly the history up to the record where it says that it goes on: after a kill that is everything
 *     that was appended (P1), after a power cut at least what was promised as durable (P2);
 *   - after a failed fdatasync nothing is acknowledged until the store has reopened, and a flush does not succeed on a
 *     volume whose acknowledged writes are gone;
 *   - a frozen layer never changes, and each that was frozen with others at one record shows what it had at that record.
 */
import { Operation, RequestFlag, type DeviceFault } from '../../src/device/block-device.js';
import { JournalHistory, type JournalEntry, type LayerHistory } from './journal-history.js';

export class Violation extends Error {
  override readonly name = 'Violation';
}

/** A request under way, with what was true when it was submitted. */
export interface Pending {
  readonly id: number;
  readonly operation: Operation;
  /** The layer of its volume; another one when that is frozen meanwhile, and the first again when that is lost. */
  layer: number;
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
  readonly data: Uint8Array;
  readonly submittedAtMs: number;
  /** Newest record then; goes back with the journal. */
  last: number;
  /** Newest record that an acknowledged request of the volume needed then; goes back as well. */
  acked: number;
  /** Newest record that a read has to show: what was acknowledged or found by then. */
  seen: number;
  /** Starts and reopenings of the store by then. */
  readonly openings: number;
}

interface VolumeBounds {
  acked: number;
  /** Acknowledged writes are gone: the next flush must say so. */
  mustReport: boolean;
  /** Unacknowledged ones are: it may. */
  mayReport: boolean;
}

export class Expectations {
  history = new JournalHistory();
  /** Records up to here were promised to survive a power cut. */
  durable = 0;
  /** Records up to here are in files. */
  written = 0;
  readonly pending = new Set<Pending>();
  readonly #bounds = new Map<number, VolumeBounds>();
  /** Some medium was damaged: data may be refused, and never be wrong. */
  damaged = false;
  openings = 0;
  /** Told when a volume's head is another layer. */
  onMoved: (from: number, to: number) => void = () => undefined;
  /** Told when the journal goes on at a record: what stood there and behind it never happened. */
  onRewound: (sequence: number) => void = () => undefined;
  /** Newest record that the last start has found. */
  #found = 0;

  bounds(layer: number): VolumeBounds {
    let bounds = this.#bounds.get(layer);
    if (bounds === undefined) this.#bounds.set(layer, (bounds = { acked: 0, mustReport: false, mayReport: false }));
    return bounds;
  }

  /** Newest record that a read of a layer that is submitted now has to show. */
  seen(layer: number): number {
    return Math.max(this.bounds(layer).acked, this.#found, this.history.layers.get(layer)?.settledAt ?? 0);
  }

  /** A copy for an image of the disk. Nothing may be under way. */
  copy(): Expectations {
    const copy = new Expectations();
    copy.history = this.history.copy();
    copy.durable = this.durable;
    copy.written = this.written;
    copy.damaged = this.damaged;
    return copy;
  }

  /** A record is about to be written. */
  appending(entry: JournalEntry): void {
    const layer = this.history.layers.get(entry.layer);
    for (const { block, content } of entry.changes) {
      if (layer !== undefined) this.#explain(layer, block, content, entry.sequence);
    }
    const problem = this.history.add(entry);
    if (problem !== '') throw new Violation(`the journal: ${problem}`);
    for (const { head, child } of entry.pairs) this.#move(head, child);
  }

  /** Blocks are about to be sealed anew beside the journal: each is what a layer holds, or held when it was read. */
  relocating(entry: JournalEntry): void {
    const layer = this.history.layers.get(entry.layer);
    for (const { block, content } of entry.changes) {
      const known = layer
        ?.versions(block)
        .some((version) => version.content !== null && sameBytes(content!, version.content, 0));
      if (known === true) continue;
      throw new Violation(`block ${block} of layer ${entry.layer} is sealed anew with bytes that it does not hold`);
    }
  }

  /** What was asked of one layer is asked of another. */
  #move(from: number, to: number): void {
    for (const request of this.pending) if (request.layer === from) request.layer = to;
    this.#bounds.set(to, this.bounds(from));
    this.#bounds.delete(from);
    this.onMoved(from, to);
  }

  /** Every byte of the new content is the old one or one that a request under way writes there. */
  #explain(layer: LayerHistory, block: number, content: Uint8Array | null, sequence: number): void {
    const { blockBytes } = layer;
    const from = block * blockBytes;
    const over: Pending[] = [];
    for (const request of this.pending) {
      if (request.layer !== layer.id || request.operation === Operation.READ || request.operation === Operation.FLUSH)
        continue;
      if (request.offset < from + blockBytes && from < request.offset + request.length) over.push(request);
    }
    const old = layer.latest(block);
    for (const request of over) if (matches(request, block, blockBytes, content, old)) return;
    for (let n = 0; n < blockBytes; n += 1) {
      const byte = content?.[n] ?? 0;
      if (byte === (old?.[n] ?? 0)) continue;
      if (over.some((request) => covers(request, from + n) && byteOf(request, from + n) === byte)) continue;
      throw new Violation(
        `record ${sequence} changes byte ${n} of block ${block} of layer ${layer.id} to ${byte}: nobody writes that`,
      );
    }
  }

  /** The store goes on behind `sequence` - 1; everything there and later is gone. `least`: what must not be. */
  goesOnAt(sequence: number, least: number): void {
    this.openings += 1;
    if (sequence > this.history.last + 1) {
      throw new Violation(`the store goes on at record ${sequence}, but only ${this.history.last} were ever written`);
    }
    if (sequence <= least && !this.damaged) {
      throw new Violation(`the store goes on at record ${sequence}: it has lost records ${sequence} to ${least}`);
    }
    // A freeze that is lost has never been: its head is the head again.
    for (const layer of [...this.history.layers.values()].sort((a, b) => b.id - a.id)) {
      if (layer.bornAt >= sequence && layer.birth.follows) this.#move(layer.id, layer.parent);
    }
    for (const layer of this.history.layers.values()) {
      const bounds = this.bounds(layer.id);
      // A hole over nothing leaves no version here, but the store counts it.
      if (sequence <= this.history.last) bounds.mayReport = true;
      if (bounds.acked >= sequence) {
        bounds.mustReport = true;
        bounds.acked = sequence - 1;
      }
    }
    for (const request of this.pending) {
      request.last = Math.min(request.last, sequence - 1);
      request.acked = Math.min(request.acked, sequence - 1);
      request.seen = Math.min(request.seen, sequence - 1);
    }
    this.history.rewind(sequence);
    this.onRewound(sequence);
    this.#found = sequence - 1;
    // Recovery makes durable what it has found.
    this.durable = sequence - 1;
    this.written = sequence - 1;
  }

  /** The process that asked is gone, and with it every handle. */
  forgetRequests(): void {
    this.pending.clear();
    this.#bounds.clear();
  }

  /** The handle of a layer was closed: what it had to report goes with it. */
  forgetHandle(layer: number): void {
    this.#bounds.delete(layer);
  }

  succeeded(request: Pending): void {
    if (request.operation === Operation.FLUSH) {
      const bounds = this.bounds(request.layer);
      if (bounds.mustReport) throw new Violation(`flush ${request.id} succeeds although acknowledged writes are lost`);
      this.durable = Math.max(this.durable, request.acked);
      return;
    }
    const layer = this.history.layers.get(request.layer);
    if (layer === undefined) throw new Violation(`request ${request.id} succeeds on a layer that is not there`);
    if (request.operation === Operation.READ) this.#checkRead(request, layer);
    else this.#checkWritten(request, layer);
  }

  #checkWritten(request: Pending, layer: LayerHistory): void {
    const { blockBytes } = layer;
    let needed = 0;
    for (const block of blocksOf(request, blockBytes)) {
      const versions = layer.versions(block);
      let found =
        versions.length === 0 && matches(request, block, blockBytes, null, null) ? layer.birth.volumeBornAt : 0;
      for (let n = firstSince(versions, request.last); found === 0 && n < versions.length; n += 1) {
        const { content, sequence } = versions[n];
        if (matches(request, block, blockBytes, content, content)) found = sequence;
      }
      if (found === 0) {
        throw new Violation(
          `request ${request.id} is acknowledged, but block ${block} of layer ${layer.id} is not in the journal`,
        );
      }
      needed = Math.max(needed, found);
    }
    const bounds = this.bounds(layer.id);
    bounds.acked = Math.max(bounds.acked, needed);
    if ((request.flags & RequestFlag.FUA) !== 0) this.durable = Math.max(this.durable, needed);
  }

  #checkRead(request: Pending, layer: LayerHistory): void {
    const { blockBytes } = layer;
    for (const block of blocksOf(request, blockBytes)) {
      const from = Math.max(block * blockBytes, request.offset);
      const end = Math.min((block + 1) * blockBytes, request.offset + request.length);
      const got = request.data.subarray(from - request.offset, end - request.offset);
      const within = from - block * blockBytes;
      const versions = layer.versions(block);
      const first = firstSince(versions, request.seen);
      const allowed = versions.length === 0 ? [null] : versions.slice(first).map((version) => version.content);
      if (allowed.some((content) => sameBytes(got, content, within))) continue;
      const older = versions.findIndex((version) => sameBytes(got, version.content, within));
      const what =
        older >= 0 ? `version ${older} of ${versions.length}` : isZero(got) ? 'zeros' : 'bytes that nobody wrote';
      throw new Violation(`read ${request.id} of block ${block} of layer ${layer.id} returns ${what}`);
    }
  }

  /** '' when this failure may be, else why not. `trouble`: the disk failed or filled up while the request was under way. */
  failed(request: Pending, fault: DeviceFault, trouble: { failure: boolean; full: boolean; closing: boolean }): string {
    const bounds = this.bounds(request.layer);
    if (fault.code === 'IO') {
      if (request.operation === Operation.FLUSH && (bounds.mustReport || bounds.mayReport)) {
        bounds.mustReport = false;
        bounds.mayReport = false;
        return '';
      }
      return trouble.failure || this.damaged ? '' : 'although the disk is well';
    }
    if (fault.code === 'FULL') {
      if (request.operation !== Operation.WRITE && !trouble.full) return 'although only data may be refused';
      return trouble.full ? '' : 'although the disk has room';
    }
    if (fault.code === 'READ_ONLY') {
      return this.history.layers.get(request.layer)?.frozen === true ? '' : 'although the layer is a head';
    }
    if (fault.code === 'CLOSED') return trouble.closing ? '' : 'although nobody closes anything';
    return 'which no request here earns';
  }
}

/** The blocks that a request reads or changes: a trim leaves the partial ones at its ends alone. */
export function blocksOf(request: Pending, blockBytes: number): number[] {
  const end = request.offset + request.length;
  const whole = request.operation === Operation.TRIM;
  const first = whole ? Math.ceil(request.offset / blockBytes) : Math.floor(request.offset / blockBytes);
  const last = whole ? Math.floor(end / blockBytes) : Math.ceil(end / blockBytes);
  return Array.from({ length: Math.max(0, last - first) }, (_, n) => first + n);
}

/** Index of the version that was current at record `sequence`. */
function firstSince(versions: readonly { sequence: number }[], sequence: number): number {
  let at = versions.length - 1;
  while (at > 0 && versions[at].sequence > sequence) at -= 1;
  return Math.max(at, 0);
}

function covers(request: Pending, at: number): boolean {
  return request.offset <= at && at < request.offset + request.length;
}

function byteOf(request: Pending, at: number): number {
  return request.operation === Operation.WRITE ? request.data[at - request.offset] : 0;
}

/** Whether `content` is what the request makes of a block that held `rest`. */
function matches(
  request: Pending,
  block: number,
  blockBytes: number,
  content: Uint8Array | null,
  rest: Uint8Array | null,
): boolean {
  const from = Math.max(block * blockBytes, request.offset);
  const end = Math.min((block + 1) * blockBytes, request.offset + request.length);
  const within = from - block * blockBytes;
  const after = end - block * blockBytes;
  const written =
    request.operation === Operation.WRITE ? request.data.subarray(from - request.offset, end - request.offset) : null;
  if (!sameRange(content, within, written, 0, after - within)) return false;
  if (content === rest) return true;
  return sameRange(content, 0, rest, 0, within) && sameRange(content, after, rest, after, blockBytes - after);
}

/** Compares two ranges; null reads as zeros. */
function sameRange(
  left: Uint8Array | null,
  leftAt: number,
  right: Uint8Array | null,
  rightAt: number,
  length: number,
): boolean {
  if (left === null) return right === null || isZero(right.subarray(rightAt, rightAt + length));
  if (right === null) return isZero(left.subarray(leftAt, leftAt + length));
  return Buffer.compare(left.subarray(leftAt, leftAt + length), right.subarray(rightAt, rightAt + length)) === 0;
}

function sameBytes(got: Uint8Array, content: Uint8Array | null, within: number): boolean {
  return sameRange(got, 0, content, within, got.length);
}

const ZEROS = Buffer.alloc(1024 * 1024);

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at += ZEROS.length) {
    const part = bytes.subarray(at, at + ZEROS.length);
    if (Buffer.compare(part, ZEROS.subarray(0, part.length)) !== 0) return false;
  }
  return true;
}

import { type BlockRequest, type DeviceFault, Operation } from '../device/block-device.js';
import type { Head } from '../store/head.js';
import { InnerRequest } from './inner-request.js';
import type { HeldRange, RangeLock } from './range-lock.js';

/** The partial block at one end of an unaligned write, and which of its bytes the write changes. */
interface Edge {
  /** Device offset of the block. */
  readonly offsetBytes: number;
  readonly from: number;
  readonly end: number;
  readonly bytes: Uint8Array;
}

/**
 * A WRITE or WRITE_ZEROES that does not cover whole blocks.
 *
 *   1. Hold the blocks that it touches: later changes of them wait.
 *   2. Wait until every change accepted before is visible, then read the partial blocks at its ends.
 *   3. Put the new bytes in and hand head block, whole middle and tail block to the store. If it reopens before all are
 *      in the journal, those that wait fail: what was read may be gone, and so may the parts that are there already.
 *   4. Give the range back: the store keeps their order from here.
 *
 * A block that cannot be read fails the request and changes nothing: making up its other bytes would hide the damage.
 */
export class UnalignedWrite {
  readonly #request: BlockRequest;
  readonly #head: Head;
  readonly #lock: RangeLock;
  readonly #done: (fault: DeviceFault | null) => void;
  readonly #edges: Edge[] = [];
  /** The whole blocks between the edges. */
  readonly #middle: { readonly from: number; readonly end: number };
  #held: HeldRange | null = null;
  #parts = 0;
  #fault: DeviceFault | null = null;

  constructor(request: BlockRequest, head: Head, lock: RangeLock, done: (fault: DeviceFault | null) => void) {
    this.#request = request;
    this.#head = head;
    this.#lock = lock;
    this.#done = done;
    const { blockBytes } = head;
    const begin = request.offsetBytes;
    const end = begin + request.lengthBytes;
    const headBlock = begin - (begin % blockBytes);
    const tailBlock = end - (end % blockBytes);
    const edge = (offsetBytes: number): void => {
      this.#edges.push({
        offsetBytes,
        from: Math.max(begin - offsetBytes, 0),
        end: Math.min(end - offsetBytes, blockBytes),
        bytes: new Uint8Array(blockBytes),
      });
    };
    if (begin !== headBlock) edge(headBlock);
    if (end !== tailBlock && (tailBlock !== headBlock || begin === headBlock)) edge(tailBlock);
    this.#middle = { from: begin === headBlock ? headBlock : headBlock + blockBytes, end: tailBlock };
  }

  start(): void {
    const { blockBytes } = this.#head;
    const { offsetBytes, lengthBytes } = this.#request;
    const first = offsetBytes - (offsetBytes % blockBytes);
    const end = Math.ceil((offsetBytes + lengthBytes) / blockBytes) * blockBytes;
    this.#lock.acquire(first, end, true, (range) => {
      this.#held = range;
      this.#head.fence(() => {
        this.#readEdges();
      });
    });
  }

  #readEdges(): void {
    this.#parts = this.#edges.length;
    for (const edge of this.#edges) {
      this.#head.submit(
        new InnerRequest(
          Operation.READ,
          edge.offsetBytes,
          this.#head.blockBytes,
          (fault) => {
            this.#fault ??= fault;
            this.#parts -= 1;
            if (this.#parts === 0) this.#write();
          },
          { data: edge.bytes },
        ),
      );
    }
  }

  #write(): void {
    if (this.#fault !== null) {
      this.#release();
      this.#done(this.#fault);
      return;
    }
    const { operation, flags, data, dataOffset, offsetBytes } = this.#request;
    const zeroes = operation === Operation.WRITE_ZEROES;
    const { from, end } = this.#middle;
    this.#parts = this.#edges.length + (end > from ? 1 : 0);
    for (const edge of this.#edges) {
      if (zeroes) edge.bytes.fill(0, edge.from, edge.end);
      else {
        const source = dataOffset + edge.offsetBytes + edge.from - offsetBytes;
        edge.bytes.set(data.subarray(source, source + edge.end - edge.from), edge.from);
      }
      const part = new InnerRequest(Operation.WRITE, edge.offsetBytes, this.#head.blockBytes, this.#partDone, {
        flags,
        data: edge.bytes,
      });
      this.#head.submit(part, true);
    }
    if (end > from) {
      const more = zeroes ? { flags } : { flags, data, dataOffset: dataOffset + from - offsetBytes };
      this.#head.submit(new InnerRequest(operation, from, end - from, this.#partDone, more), true);
    }
    this.#release();
  }

  #release(): void {
    const held = this.#held;
    this.#held = null;
    if (held !== null) this.#lock.release(held);
  }

  readonly #partDone = (fault: DeviceFault | null): void => {
    this.#fault ??= fault;
    this.#parts -= 1;
    if (this.#parts === 0) this.#done(this.#fault);
  };
}

import { describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { UnderWay } from '../../src/base/under-way.js';
import { Operation, type DeviceFault } from '../../src/device/block-device.js';
import type { KeyringId } from '../../src/io/block-keys.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { Layer } from '../../src/store/map/layer.js';
import { ReadQueue } from '../../src/store/read-queue.js';
import { StoreError } from '../../src/store/store-error.js';
import { WriteQueue } from '../../src/store/write-queue.js';
import { InnerRequest } from '../../src/volume/inner-request.js';

const clock = new SystemClock();
const CLOSED = { code: 'CLOSED' } as const;
const layer = Layer.born({ id: 1, parent: 0, blockBytes: 4096, sizeBlocks: 8 });

/** A request and what becomes of it. */
function request(operation: Operation): { request: InnerRequest; answer: Promise<DeviceFault | null> } {
  let made: InnerRequest | null = null;
  const answer = new Promise<DeviceFault | null>((resolve) => {
    made = new InnerRequest(operation, 0, 4096, resolve, { data: new Uint8Array(4096) });
  });
  if (made === null) throw new Error('a promise calls its maker at once');
  return { request: made, answer };
}

// What a failed request lets go of (a leaf, a file, a range) may send the next one in after the store is closed.
describe('a queue of a store that is closed', () => {
  it('answers reads that come later', async () => {
    const queue = new ReadQueue({ files: new NativeFiles(), clock, engine: () => null, bad: () => undefined });
    let idle = 0;
    class Reads extends UnderWay {
      override end(): void {
        super.end();
        if (this.count === 0) idle += 1;
      }
    }
    const source = { layer, keyring: 0 as KeyringId, reads: new Reads() };
    const early = request(Operation.READ);
    queue.submit(early.request, source);
    queue.end(CLOSED);
    expect(await early.answer).toEqual(CLOSED);
    const late = request(Operation.READ);
    queue.submit(late.request, source);
    expect(await late.answer).toEqual(CLOSED);
    expect(source.reads.count).toBe(0);
    expect(idle).toBe(2);
  });

  it('answers changes, verbs and fences that come later, also from within an answer', async () => {
    const queue = new WriteQueue(
      { replayBytesMax: 1 },
      {
        clock,
        checksums: new NativeChecksums(),
        engine: () => null,
        wantCheckpoint: () => undefined,
        makeRoom: () => Promise.resolve(),
        rolled: () => undefined,
        pace: () => Number.POSITIVE_INFINITY,
      },
    );
    const write = request(Operation.WRITE);
    const verb = new Promise<StoreError | null>((resolve) => {
      queue.fence(null, () => {
        // This one comes while the queue is being emptied.
        queue.fence(null, () => {
          queue.submit(write.request, { layer, epoch: 1, sealing: { id: 0, counter: 0 } as never }, false);
          queue.verb({ refusal: () => null, add: () => true, publish: () => undefined, done: resolve });
        });
      });
    });
    queue.end(CLOSED, new StoreError('closed', CLOSED));
    expect(await write.answer).toEqual(CLOSED);
    expect((await verb)?.code).toBe('CLOSED');
    await new Promise<void>((resolve) => queue.fence(null, resolve));
  });
});

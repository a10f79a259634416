import { describe, expect, it } from 'vitest';
import type { BlockDevice, BlockRequest, Extent, WaitingEnd } from '../../src/device/block-device.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { NO_BURST } from '../../src/qos/rate-limit.js';
import { Throttle } from '../../src/qos/throttle.js';
import { ThrottleStatistics } from '../../src/qos/throttle-statistics.js';
import { ManualClock } from '../base/manual-clock.js';
import { comesTrue } from '../base/waiting.js';
import { NOTHING_HELD, RECEIVE_PATHS, TestServer } from './test-server.js';
import { request } from './wire-client.js';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const NONE = { operations: 0, bytes: 0 };

/** One operation a second, of a clock that stands still: after the first one everything waits. */
class ThrottledDevice implements BlockDevice {
  readonly blockBytes = 4096;
  readonly sizeBytes = 1 << 20;
  readonly readOnly = false;
  readonly clock = new ManualClock();
  readonly memory = new MemoryDevice({ sizeBytes: this.sizeBytes });
  readonly throttle = new Throttle(
    { total: { operations: 1, bytes: 0 }, read: NONE, write: NONE, burst: NO_BURST },
    { next: this.memory, clock: this.clock, statistics: new ThrottleStatistics(0) },
  );

  submit(request: BlockRequest): void {
    if (request.operation === 2) this.memory.submit(request);
    else this.throttle.submit(request);
  }

  endWaiting(how: WaitingEnd, of: (request: BlockRequest) => boolean): void {
    this.throttle.endWaiting(how, of);
  }

  extents(offsetBytes: number, lengthBytes: number, extentsMax: number): Promise<Extent[]> {
    return this.memory.extents(offsetBytes, lengthBytes, extentsMax);
  }
}

describe.each(RECEIVE_PATHS)('a throttled volume, bytes $path', ({ copying }) => {
  it.each(['goes away', 'is kicked'])('forgets what a client wanted that %s, and nothing else', async (how) => {
    const device = new ThrottledDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const [gone, stays] = [await server.connect(), await server.connect()];
    for (const client of [gone, stays]) await client.go('v');
    gone.send(...Array.from({ length: 40 }, (_, n) => request({ type: READ, cookie: BigInt(n), length: 8192 })));
    gone.send(request({ type: WRITE, payload: Buffer.alloc(100_000, 3) }));
    await comesTrue('40 wait', () => device.throttle.waiting === 40);
    stays.send(request({ type: READ, cookie: 7n, length: 4096 }));
    await comesTrue('41 wait', () => device.throttle.waiting === 41);
    if (how === 'is kicked') void server.server.kick('id-v', server.server.connections('id-v')[0].address);
    else gone.destroy();
    await server.until(() => server.closed === 1);
    expect(device.throttle.waiting).toBe(1);
    // Nobody has failed: nobody waited for it any more.
    expect([server.statistics.errors[READ], server.count('failed')]).toEqual([0, 0]);
    expect(server.statistics.inFlight).toBe(1);
    device.clock.advance(10_000);
    expect((await stays.readReply(4096)).cookie).toBe(7n);
    expect(device.memory.allocatedBytes).toBe(0);
  });

  it('answers a flush before what waits', async () => {
    const device = new ThrottledDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    const write = (cookie: bigint) => request({ type: WRITE, cookie, payload: Buffer.alloc(4096, 1) });
    client.send(write(1n), write(2n), request({ type: FLUSH, cookie: 3n }));
    expect([(await client.readReply()).cookie, (await client.readReply()).cookie]).toEqual([1n, 3n]);
    device.clock.advance(10_000);
    expect((await client.readReply()).cookie).toBe(2n);
  });

  it('holds back what a session may have under way, and the rest stays unread', async () => {
    const device = new ThrottledDevice();
    const limits = { requestsInFlightMax: 16 };
    const server = await TestServer.start({ exports: { v: { device } }, copying, limits });
    const client = await server.connect();
    await client.go('v');
    client.send(...Array.from({ length: 200 }, (_, n) => request({ type: READ, cookie: BigInt(n), length: 512 })));
    await comesTrue('it is full', () => device.throttle.waiting === 16);
    let most = 0;
    for (let n = 0; n < 200; n += 1) {
      most = Math.max(most, device.throttle.waiting);
      const reply = client.readReply(512);
      await comesTrue('one more waits, or none is left', () => {
        device.clock.advance(1000);
        return true;
      });
      expect((await reply).error).toBe(0);
    }
    expect(most).toBeLessThanOrEqual(16);
    expect(server.server.usage()).toMatchObject({ requestsInFlight: 0 });
  });

  it('is drained at once', async () => {
    const device = new ThrottledDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    for (let n = 0; n < 50; n += 1) {
      client.send(request({ type: WRITE, cookie: BigInt(n), offset: n * 4096, payload: Buffer.alloc(4096, 9) }));
    }
    await comesTrue('they wait', () => device.throttle.waiting === 49);
    const drained = server.server.drain();
    for (let n = 0; n < 50; n += 1) expect((await client.readReply()).error).toBe(0);
    await drained;
    expect(device.memory.allocatedBytes).toBe(50 * 4096);
    expect(server.server.usage()).toEqual(NOTHING_HELD);
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { NO_BURST } from '../../src/qos/rate-limit.js';
import { Throttle, type ThrottleLimits } from '../../src/qos/throttle.js';
import { ThrottleStatistics } from '../../src/qos/throttle-statistics.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { FloodingClient, ServedDevice, TestRequest } from './served-device.js';

const MIB = 1024 * 1024;
const NONE = { operations: 0, bytes: 0 };

function limits(change: Partial<ThrottleLimits>): ThrottleLimits {
  return { total: NONE, read: NONE, write: NONE, burst: NO_BURST, ...change };
}

const iops = (operations: number): Partial<ThrottleLimits> => ({ total: { operations, bytes: 0 } });

let clock: ManualClock;
let statistics: ThrottleStatistics;

beforeEach(() => {
  clock = new ManualClock();
  statistics = new ThrottleStatistics(0);
});

function throttled(change: Partial<ThrottleLimits>): { throttle: Throttle; device: ServedDevice } {
  // 100,000 requests a second, as the real thing does on a good day.
  const device = new ServedDevice(clock, { ms: 0.32, requests: 32 });
  const throttle = new Throttle(limits(change), { next: device, clock, statistics });
  return { throttle, device };
}

describe('a limit', () => {
  it.each([100, 1000, 7777, 80_000])('of %i operations a second is kept within a twentieth over 30 s', (rate) => {
    for (const depth of rate > 10_000 ? [128] : [1, 32, 128]) {
      const { throttle } = throttled(iops(rate));
      const client = new FloodingClient(throttle, depth);
      clock.advance(30_000);
      const possible = Math.min(rate, depth / 0.00032);
      expect(client.completed / 30 / possible).toBeGreaterThan(depth === 1 && rate > 2000 ? 0.8 : 0.95);
      expect(client.completed / 30 / rate).toBeLessThan(1.05);
    }
  });

  it.each([4096, 65_536, MIB, 32 * MIB])('of 20 MiB a second is kept with requests of %i bytes', (length) => {
    const { throttle } = throttled({ total: { operations: 0, bytes: 20 * MIB } });
    const client = new FloodingClient(throttle, 16, () => new TestRequest(Operation.WRITE, length));
    // What is larger than the bucket goes on credit: the first ones are over at once.
    clock.advance(10_000);
    client.take();
    clock.advance(64_000);
    expect((client.completed * length) / 64 / (20 * MIB)).toBeCloseTo(1, 1);
  });

  it('counts large requests as several operations, and changes without data as few', () => {
    const rateOf = (operation: Operation, length: number): number => {
      const { throttle } = throttled(iops(1000));
      const client = new FloodingClient(throttle, 64, () => new TestRequest(operation, length));
      clock.advance(5000);
      client.take();
      clock.advance(10_000);
      return client.completed / 10;
    };
    expect(rateOf(Operation.READ, 256 * 1024)).toBeCloseTo(1000, -2);
    expect(rateOf(Operation.READ, 256 * 1024 + 1)).toBeCloseTo(500, -2);
    expect(rateOf(Operation.WRITE, MIB)).toBeCloseTo(250, -1);
    expect(rateOf(Operation.TRIM, 64 * MIB)).toBeCloseTo(1000, -2);
    expect(rateOf(Operation.WRITE_ZEROES, 256 * MIB)).toBeCloseTo(250, -1);
  });

  it('of bytes lets changes without data pass, also behind a debt', () => {
    const { throttle, device } = throttled({ total: { operations: 0, bytes: MIB } });
    throttle.submit(new TestRequest(Operation.READ, 32 * MIB));
    throttle.submit(new TestRequest(Operation.TRIM, 32 * MIB));
    expect(device.inside).toBe(2);
  });

  it('of changes leaves reads alone', () => {
    const { throttle } = throttled({ write: { operations: 100, bytes: 0 } });
    const writer = new FloodingClient(throttle, 32, () => new TestRequest(Operation.WRITE));
    const reader = new FloodingClient(throttle, 32);
    clock.advance(10_000);
    expect(writer.completed / 10).toBeLessThan(105);
    expect(reader.completed / 10).toBeGreaterThan(90_000);
    // Only writes have waited.
    expect(statistics.read(10_000).throttledRequests).toBeLessThan(writer.completed + 33);
  });

  it('of both kinds together is held beside one of each', () => {
    const { throttle } = throttled({ ...iops(1000), write: { operations: 200, bytes: 0 } });
    const writer = new FloodingClient(throttle, 32, () => new TestRequest(Operation.WRITE));
    const reader = new FloodingClient(throttle, 32);
    clock.advance(30_000);
    expect(writer.completed / 30).toBeCloseTo(200, -2);
    expect((writer.completed + reader.completed) / 30 / 1000).toBeCloseTo(1, 1);
  });
});

describe('waiting requests', () => {
  it('go on in the order in which they came, whatever they are', () => {
    const random = new SeededRandom(1);
    const { throttle } = throttled({ total: { operations: 500, bytes: 8 * MIB } });
    const order: number[] = [];
    for (let n = 0; n < 300; n += 1) {
      const operation = [Operation.READ, Operation.WRITE, Operation.TRIM][random.below(3)];
      const request = new TestRequest(operation, 4096 * (1 + random.below(100)));
      request.after = () => order.push(n);
      throttle.submit(request);
    }
    clock.advance(60_000);
    expect(order).toEqual([...order.keys()]);
    expect(order).toHaveLength(300);
  });

  it('have one timer, and few wakeups', () => {
    const { throttle } = throttled(iops(1000));
    const before = clock.pending;
    let wakeups = 0;
    const after = clock.after.bind(clock);
    clock.after = (delayMs, callback) => {
      if (delayMs >= 1) wakeups += 1;
      return after(delayMs, callback);
    };
    for (let n = 0; n < 500; n += 1) throttle.submit(new TestRequest());
    // One of the throttle, one of the device that is busy with the first.
    expect(clock.pending - before).toBe(2);
    clock.advance(450);
    expect(throttle.waiting).toBe(0);
    // 16 while many wait, then more often; without a least time between them it would be 400.
    expect(wakeups).toBeLessThanOrEqual(60);
  });

  it('leave no timer behind when the last has gone', () => {
    const { throttle } = throttled(iops(10));
    for (let n = 0; n < 5; n += 1) throttle.submit(new TestRequest());
    clock.advance(5000);
    expect([throttle.waiting, clock.pending]).toEqual([0, 0]);
  });

  it('are counted, with the time that they waited', () => {
    const { throttle } = throttled(iops(10));
    for (let n = 0; n < 3; n += 1) throttle.submit(new TestRequest());
    clock.advance(1000);
    // The bucket held one; the others went after 100 and 200 ms.
    const reading = statistics.read(1000);
    expect(reading).toMatchObject({ waiting: 0, throttledRequests: 2 });
    expect(reading.throttledMs).toBeCloseTo(200, -1);
    expect(reading.waitedMs).toBeCloseTo(300, -1);
  });

  it('are refused, or served at once and for nothing, when they are picked', () => {
    const { throttle, device } = throttled(iops(1));
    const [first, gone, hurried, patient] = Array.from({ length: 4 }, () => new TestRequest());
    for (const request of [first, gone, hurried, patient]) throttle.submit(request);
    throttle.endWaiting('refuse', (request) => request === gone);
    throttle.endWaiting('serve', (request) => request === hurried);
    expect([gone.ends, device.inside]).toEqual([['CLOSED'], 2]);
    clock.advance(900);
    expect([first.ends, hurried.ends, patient.ends]).toEqual([[null], [null], []]);
    clock.advance(200);
    expect(patient.ends).toEqual([null]);
    expect(statistics.read(1100).waiting).toBe(0);
  });
});

describe('a burst', () => {
  it('gives a rested volume a multiple of its limit for its time, once', () => {
    const { throttle } = throttled({ ...iops(1000), burst: { multiplier: 3, durationMs: 10_000 } });
    const client = new FloodingClient(throttle, 128);
    clock.advance(9000);
    expect(client.take() / 9 / 3000).toBeCloseTo(1, 1);
    clock.advance(2000);
    client.take();
    clock.advance(30_000);
    expect(client.take() / 30 / 1000).toBeCloseTo(1, 1);
  });

  it('comes back at the rate that is not used', () => {
    const { throttle } = throttled({ ...iops(1000), burst: { multiplier: 2, durationMs: 10_000 } });
    const spend = (count: number): void => {
      for (let n = 0; n < count; n += 1) throttle.submit(new TestRequest());
    };
    // 10 s at twice the rate, then 5 s of rest: half of it is there again.
    spend(20_000);
    clock.advance(10_500);
    expect(throttle.waiting).toBe(0);
    clock.advance(5000);
    spend(50_000);
    clock.advance(4500);
    const served = 50_000 - throttle.waiting;
    expect(served / 4.5 / 2000).toBeCloseTo(1, 1);
    clock.advance(3000);
    const later = 50_000 - throttle.waiting;
    clock.advance(5000);
    expect((50_000 - throttle.waiting - later) / 5 / 1000).toBeCloseTo(1, 1);
  });
});

describe('a change of limits', () => {
  it('lets go at once what the new ones allow', () => {
    const { throttle, device } = throttled(iops(1));
    for (let n = 0; n < 50; n += 1) throttle.submit(new TestRequest());
    expect(device.inside).toBe(1);
    throttle.configure(limits(iops(1000)));
    expect(device.inside).toBe(50);
  });

  it('holds back at once', () => {
    const { throttle } = throttled(iops(50_000));
    const client = new FloodingClient(throttle, 32);
    clock.advance(1000);
    throttle.configure(limits(iops(100)));
    client.take();
    clock.advance(10_000);
    expect(client.completed / 10).toBeLessThan(120);
  });

  it('keeps what is owed', () => {
    const { throttle, device } = throttled({ total: { operations: 0, bytes: MIB } });
    throttle.submit(new TestRequest(Operation.READ, 32 * MIB));
    throttle.configure(limits({ total: { operations: 0, bytes: 2 * MIB } }));
    throttle.submit(new TestRequest(Operation.READ, 4096));
    clock.advance(15_000);
    expect(device.inside + throttle.waiting).toBe(1);
    expect(throttle.waiting).toBe(1);
    clock.advance(2000);
    expect(throttle.waiting).toBe(0);
  });
});

describe('whatever happens', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('every request ends once (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const { throttle, device } = throttled(iops(200));
    const all: TestRequest[] = [];
    for (let step = 0; step < 2000; step += 1) {
      const choice = random.below(20);
      if (choice < 14) {
        const operation = [Operation.READ, Operation.WRITE, Operation.TRIM, Operation.CACHE][random.below(4)];
        const request = new TestRequest(operation, 1 + random.below(random.below(20) === 0 ? 40 * MIB : 300_000));
        // Some issuers submit the next one inside the end of the last.
        if (random.below(4) === 0) {
          const next = new TestRequest(operation);
          all.push(next);
          request.after = () => throttle.submit(next);
        }
        all.push(request);
        throttle.submit(request);
      } else if (choice < 17) clock.advance(random.below(40));
      else if (choice === 17) {
        throttle.configure(
          limits({
            total: { operations: random.below(2) * (1 + random.below(5000)), bytes: random.below(2) * 50 * MIB },
            read: { operations: random.below(300), bytes: 0 },
            write: { operations: 0, bytes: random.below(3) * 10 * MIB },
            burst: { multiplier: 1 + random.below(3), durationMs: 1000 },
          }),
        );
      } else if (choice === 18) throttle.endWaiting('refuse', () => random.below(4) === 0);
      else throttle.endWaiting('serve', () => random.below(4) === 0);
    }
    throttle.endWaiting('serve', () => true);
    throttle.configure(limits(iops(1_000_000)));
    clock.advance(10_000);
    expect(all.filter(({ ends }) => ends.length !== 1)).toEqual([]);
    expect([throttle.waiting, device.inside, clock.pending]).toEqual([0, 0, 0]);
    expect(statistics.read(clock.monotonicMs()).waiting).toBe(0);
  });
});

import { beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { Admission, type AdmissionSettings } from '../../src/qos/admission.js';
import { FairQueue } from '../../src/qos/fair-queue.js';
import { IN_STORE_REQUESTS_MAX } from '../../src/qos/limits.js';
import type { RequestSink } from '../../src/qos/request-sink.js';
import { ManualClock } from '../base/manual-clock.js';
import { SeededRandom } from '../base/seeded-random.js';
import { FloodingClient, ServedDevice, TestRequest } from './served-device.js';

const MIB = 1024 * 1024;
const SECONDS = 10;

const NOTHING: AdmissionSettings = {
  iops: 0,
  throughput: 0,
  readIops: 0,
  writeIops: 0,
  readThroughput: 0,
  writeThroughput: 0,
  burstMultiplier: 1,
  burstDurationMs: 0,
  guaranteedIops: 0,
  guaranteedThroughput: 0,
};

let clock: ManualClock;
let fair: FairQueue;
let store: ServedDevice;

beforeEach(() => {
  clock = new ManualClock();
  fair = new FairQueue({ clock });
  // 20,000 requests a second for all volumes of the node.
  store = new ServedDevice(clock, { ms: 1, requests: 20 });
});

function volume(settings: Partial<AdmissionSettings> | null): Admission {
  const admission = new Admission({ volume: store, clock, fair });
  admission.configure(settings === null ? null : { ...NOTHING, ...settings });
  return admission;
}

/** As a volume does it. */
function into(admission: Admission): RequestSink {
  return {
    submit: (request) => {
      (admission.entry ?? store).submit(request);
    },
  };
}

const rate = (client: FloodingClient): number => client.completed / SECONDS;

describe('a volume', () => {
  it('without limits has nothing before it, as long as nobody has a guarantee', () => {
    const plain = volume(null);
    const limited = volume({ iops: 100 });
    expect(plain.entry).toBeNull();
    expect(limited.entry).not.toBeNull();
    limited.configure({ ...NOTHING, guaranteedIops: 10 });
    expect(plain.entry).not.toBeNull();
    limited.configure(null);
    expect([plain.entry, limited.entry]).toEqual([null, null]);
    const guaranteed = volume({ guaranteedThroughput: MIB });
    const late = volume(null);
    expect(late.entry).not.toBeNull();
    guaranteed.close();
    expect([plain.entry, late.entry]).toEqual([null, null]);
  });

  it('that is closed serves what waits', () => {
    const limited = volume({ iops: 1 });
    const requests = Array.from({ length: 100 }, () => new TestRequest());
    for (const request of requests) into(limited).submit(request);
    limited.close();
    expect(store.inside).toBe(100);
    clock.advance(100);
    expect(requests.every(({ ends }) => ends.length === 1 && ends[0] === null)).toBe(true);
    expect([limited.entry, clock.pending]).toEqual([null, 0]);
  });

  it('goes on where its limits are taken away, and keeps its count', () => {
    const limited = volume({ iops: 1 });
    const requests = Array.from({ length: 10 }, () => new TestRequest());
    for (const request of requests) into(limited).submit(request);
    expect(limited.reading.waiting).toBe(9);
    limited.configure(null);
    clock.advance(100);
    expect(requests.every(({ ends }) => ends[0] === null)).toBe(true);
    expect(limited.reading).toMatchObject({ waiting: 0, throttledRequests: 9 });
  });
});

describe('a guarantee', () => {
  it.each([2, 8, 32])('of 5,000 operations is kept at depth %i beside floods at depth 128', (depth) => {
    const floods = [1, 2, 3].map(() => new FloodingClient(into(volume(null)), 128));
    // A request waits for the 64 that the store has: 4 turns of 1 ms and its own.
    const guaranteed = new FloodingClient(into(volume({ guaranteedIops: 5000 })), depth);
    clock.advance(SECONDS * 1000);
    expect(rate(guaranteed)).toBeGreaterThan(0.9 * Math.min(5000, depth * 200));
    expect(floods.every((flood) => rate(flood) > 1000)).toBe(true);
  });

  it('of bytes is kept too', () => {
    new FloodingClient(into(volume(null)), 128);
    const large = (): TestRequest => new TestRequest(Operation.WRITE, 65_536);
    const guaranteed = new FloodingClient(into(volume({ guaranteedThroughput: 200 * MIB })), 32, large);
    clock.advance(SECONDS * 1000);
    expect((rate(guaranteed) * 65_536) / (200 * MIB)).toBeGreaterThan(0.9);
  });

  it('is no limit: what nobody else wants is had as well', () => {
    const guaranteed = new FloodingClient(into(volume({ guaranteedIops: 100 })), 64);
    clock.advance(SECONDS * 1000);
    expect(rate(guaranteed)).toBeGreaterThan(19_000);
  });

  it('stands beside a limit', () => {
    new FloodingClient(into(volume(null)), 128);
    const guaranteed = new FloodingClient(into(volume({ guaranteedIops: 2000, iops: 3000 })), 64);
    clock.advance(SECONDS * 1000);
    expect(rate(guaranteed)).toBeGreaterThan(1900);
    expect(rate(guaranteed)).toBeLessThan(3150);
  });

  it('that promises more than there is starves nobody', () => {
    const flood = new FloodingClient(into(volume(null)), 128);
    const large = new FloodingClient(into(volume({ guaranteedIops: 40_000 })), 256);
    const small = new FloodingClient(into(volume({ guaranteedIops: 20_000 })), 256);
    clock.advance(SECONDS * 1000);
    expect(rate(flood)).toBeGreaterThan(100);
    expect(Math.min(rate(large), rate(small))).toBeGreaterThan(3000);
    expect(rate(large) + rate(small) + rate(flood)).toBeGreaterThan(19_000);
  });
});

describe('what is left', () => {
  it('is shared evenly among those without a guarantee, whatever their depth', () => {
    volume({ guaranteedIops: 1 });
    const deep = new FloodingClient(into(volume(null)), 256);
    const shallow = new FloodingClient(into(volume(null)), 64);
    clock.advance(SECONDS * 1000);
    expect(rate(deep) / rate(shallow)).toBeCloseTo(1, 1);
  });

  it('is charged by size', () => {
    volume({ guaranteedIops: 1 });
    const small = new FloodingClient(into(volume(null)), 128);
    const large = new FloodingClient(into(volume(null)), 128, () => new TestRequest(Operation.WRITE, 112 * 1024));
    clock.advance(SECONDS * 1000);
    // 12 KiB against 120 KiB of cost.
    expect(rate(small) / rate(large)).toBeGreaterThan(8);
    expect(rate(small) / rate(large)).toBeLessThan(12);
  });

  it('never has the store hold more than its bounds', () => {
    const guaranteed = volume({ guaranteedIops: 1_000_000 });
    const flood = volume(null);
    new FloodingClient(into(flood), 512);
    expect(store.insideMost).toBe(IN_STORE_REQUESTS_MAX);
    new FloodingClient(into(guaranteed), 512);
    clock.advance(1000);
    expect(store.insideMost).toBe(2 * IN_STORE_REQUESTS_MAX);
  });

  it('lets a request through that is larger than the bounds', () => {
    volume({ guaranteedIops: 1 });
    const request = new TestRequest(Operation.WRITE, 32 * MIB);
    const behind = new TestRequest(Operation.WRITE, 32 * MIB);
    const huge = volume(null);
    into(huge).submit(request);
    into(huge).submit(behind);
    clock.advance(10);
    expect([request.ends, behind.ends]).toEqual([[null], [null]]);
  });
});

describe('whatever happens', () => {
  it.each([1, 2, 3, 4, 5, 6])('every request ends once (seed %i)', (seed) => {
    const random = new SeededRandom(seed);
    const all: TestRequest[] = [];
    const volumes = Array.from({ length: 5 }, () => volume(null));
    const closed = new Set<Admission>();
    for (let step = 0; step < 3000; step += 1) {
      const at = random.below(volumes.length);
      const admission = volumes[at];
      const choice = random.below(30);
      if (choice < 22) {
        const request = new TestRequest(random.below(2) as Operation, 1 + random.below(400_000));
        all.push(request);
        into(admission).submit(request);
      } else if (choice < 25) clock.advance(random.below(4));
      else if (choice < 28) {
        admission.configure({
          ...NOTHING,
          iops: random.below(2) * (1000 + random.below(10_000)),
          guaranteedIops: random.below(3) * random.below(8000),
          guaranteedThroughput: random.below(2) * 10 * MIB,
        });
      } else if (choice === 28)
        admission.endWaiting(random.below(2) === 0 ? 'serve' : 'refuse', () => random.below(3) === 0);
      else {
        admission.close();
        closed.add(admission);
        volumes[at] = volume(null);
      }
    }
    for (const admission of volumes) admission.close();
    clock.advance(60_000);
    expect(all.filter(({ ends }) => ends.length !== 1)).toEqual([]);
    expect([fair.inStore, fair.isActive, store.inside, clock.pending]).toEqual([0, false, 0, 0]);
    expect([...closed, ...volumes].every(({ reading }) => reading.waiting === 0)).toBe(true);
  });
});

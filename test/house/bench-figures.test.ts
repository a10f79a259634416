import { describe, expect, it } from 'vitest';
import { RATIO_BARS } from '../../scripts/bench/bars.js';
import { atLeast, atMost, told } from '../../scripts/bench/figure.js';
import { FIGURES } from '../../scripts/bench/figures.js';
import { liveBytesOf } from '../../scripts/bench/figures/cleaner.js';
import { assertMeasured, cpuSecondsPerGib, type Measurement } from '../../scripts/bench/measurement.js';
import { PEERS } from '../../scripts/bench/peers.js';
import type { Row } from '../../scripts/bench/rounds.js';
import { median, quantile, ratio, spread } from '../../scripts/bench/statistics.js';
import { programsOf } from '../../scripts/bench/programs.js';
import { ratioVerdicts } from '../../scripts/bench/verdicts.js';
import { wantsFreshFill, WORKS } from '../../scripts/bench/works.js';

const GOOD: Measurement = { rate: 1000, bytes: 2 ** 29, cpuSeconds: 2, p99Us: 50, p999Us: 90, othersCores: 0 };

function row(peerName: string, workName: string, rates: readonly number[]): Row {
  const peer = PEERS.find(({ name }) => name === peerName)!;
  const work = WORKS.find(({ name }) => name === workName)!;
  return { peer, work, measurements: rates.map((rate) => ({ ...GOOD, rate })) };
}

describe('statistics of the bench', () => {
  it('takes the middle of an odd number and the mean of the two in the middle of an even one', () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([1, 10, 3, 5])).toBe(4);
    expect(median([7])).toBe(7);
    expect(() => median([])).toThrow('no figures');
  });

  it('leaves the figures in their order', () => {
    const figures = [3, 1, 2];
    median(figures);
    quantile(figures, 0.5);
    expect(figures).toEqual([3, 1, 2]);
  });

  it('takes the quantile that so many do not exceed', () => {
    const figures = Array.from({ length: 1000 }, (_, at) => at + 1);
    expect(quantile(figures, 0.999)).toBe(999);
    expect(quantile(figures, 0.5)).toBe(500);
    expect(quantile([4], 0.999)).toBe(4);
    expect(() => quantile([], 0.5)).toThrow('no figures');
  });

  it('refuses a ratio with a zero on either side', () => {
    expect(ratio(30, 10)).toBe(3);
    for (const [figure, base] of [
      [0, 10],
      [10, 0],
      [Number.NaN, 10],
      [10, Number.NaN],
      [-1, 10],
    ] as const) {
      expect(() => ratio(figure, base)).toThrow('no ratio');
    }
  });

  it('says how far rounds lie apart in terms of their median', () => {
    expect(spread([90, 100, 120])).toBeCloseTo(0.3);
  });
});

describe('refusal of zeros', () => {
  it('takes a measurement in which everything was measured', () => {
    expect(() => assertMeasured(GOOD, 'nbdkit', 'seq-read')).not.toThrow();
  });

  it.each(['rate', 'bytes', 'cpuSeconds', 'p99Us'] as const)('names who and what when %s is none', (field) => {
    for (const figure of [0, -1, Number.NaN, Infinity]) {
      expect(() => assertMeasured({ ...GOOD, [field]: figure }, 'nbdkit', 'seq-read')).toThrow(
        /^nbdkit: seq-read: .* is no figure/,
      );
    }
  });

  it('takes no zero for a figure of ours either', () => {
    const shown = String;
    for (const make of [
      () => told('x', 0, shown),
      () => atMost('x', 0, 1, shown),
      () => atLeast('x', Number.NaN, 1, shown),
    ]) {
      expect(make).toThrow('no figure');
    }
  });
});

describe('bars', () => {
  it('name works and peers that exist', () => {
    const peers = new Set(PEERS.map(({ name }) => name));
    const works = new Set(WORKS.map(({ name }) => name));
    expect(RATIO_BARS.length).toBeGreaterThan(10);
    for (const bar of RATIO_BARS) {
      expect(works).toContain(bar.work);
      expect(peers).toContain(bar.peer);
      expect(peers).toContain(bar.against);
    }
  });

  it('compare medians, and say met or missed', () => {
    const rows = [
      row('galleon', 'rand-write-32', [360, 400, 10_000]),
      row('nbdkit', 'rand-write-32', [1, 100, 110]),
      row('qemu-raw', 'rand-write-32', [200, 200, 200]),
    ];
    const verdicts = ratioVerdicts(rows);
    expect(verdicts.map(({ what, value, met, goal }) => [what, value, met, goal])).toEqual([
      ['rand-write-32: galleon / nbdkit', '4.00', true, false],
      ['rand-write-32: galleon / qemu-raw', '2.00', false, false],
      ['rand-write-32: galleon / nbdkit', '4.00', false, true],
    ]);
  });

  it('are silent about what was not measured', () => {
    expect(ratioVerdicts([row('galleon', 'seq-read', [5])])).toEqual([]);
    expect(ratioVerdicts([row('galleon', 'seq-read', [5]), row('nbdkit', 'seq-read', [5])])).toEqual([]);
  });

  it('hold figures from the right side', () => {
    expect(atMost('x', 10, 10, String).met).toBe(true);
    expect(atMost('x', 11, 10, String).met).toBe(false);
    expect(atLeast('x', 10, 10, String).met).toBe(true);
    expect(atLeast('x', 9, 10, String).met).toBe(false);
    expect(told('x', 9, String).met).toBeNull();
  });
});

describe('figures', () => {
  it('have names of their own, which no work has', () => {
    const names = [...FIGURES, ...WORKS].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('ask for the programs that they start', () => {
    const programs = (...names: string[]): string[] =>
      programsOf(
        [],
        [],
        FIGURES.filter(({ name }) => names.includes(name)),
      ).map(({ packages }) => packages);
    expect(programs('idle')).toEqual([]);
    expect(programs('recovery')).toEqual(['fio']);
    expect(programs('snapshot-reads', 'trims')).toEqual(['fio', 'qemu-utils', 'python3 python3-libnbd']);
  });

  it('fill a journal to 80% with the headers of its blocks', () => {
    const capacityBytes = 16 * 2 ** 30;
    const liveShare = (liveBytesOf(capacityBytes) * (1 + 64 / 4096)) / capacityBytes;
    expect(liveShare).toBeGreaterThan(0.799);
    expect(liveShare).toBeLessThanOrEqual(0.8);
  });
});

describe('works', () => {
  it('have names of their own, and every read comes before the first write', () => {
    expect(new Set(WORKS.map(({ name }) => name)).size).toBe(WORKS.length);
    const firstWrite = WORKS.findIndex((work) => !wantsFreshFill(work));
    expect(firstWrite).toBeGreaterThan(0);
    expect(WORKS.slice(firstWrite).some((work) => wantsFreshFill(work))).toBe(false);
  });

  it('count processor time by what crossed the socket', () => {
    expect(cpuSecondsPerGib(GOOD)).toBe(4);
  });
});

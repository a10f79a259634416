import { describe, expect, it } from 'vitest';
import { checkpointSpans, splitLatencies } from '../../scripts/bench/figures/checkpoint.js';
import { parseRecovery } from '../../scripts/bench/figures/recovery.js';
import { fioArguments, parseFio } from '../../scripts/bench/fio.js';
import { parseFlushLoop } from '../../scripts/bench/flush-loop.js';
import { parseTrim } from '../../scripts/bench/libnbd-clients.js';
import { Metrics } from '../../scripts/bench/metrics.js';
import { parseOptions } from '../../scripts/bench/options.js';
import { cpuSeconds, parseBusy, parseStat, residentBytes, runSeconds } from '../../scripts/bench/process-usage.js';
import { describeMissing } from '../../scripts/bench/programs.js';
import { withoutPaths } from '../../scripts/bench/report.js';
import { markdownTable, textTable } from '../../scripts/bench/table.js';
import { FILL, workNamed } from '../../scripts/bench/works.js';

const KNOWN = {
  works: ['rand-read-32', 'rand-write-32', 'flush-1'],
  figures: ['idle', 'cleaner', 'sustained'],
  peers: ['galleon', 'nbdkit', 'qemu-raw'],
};

function optionsOf(...argv: string[]) {
  const wish = parseOptions(argv, KNOWN);
  if (!('run' in wish)) throw new Error('that is no run');
  return wish.run;
}

describe('options of the bench', () => {
  it('ask for everything but the long, in three rounds over 1 GiB', () => {
    expect(optionsOf()).toMatchObject({
      ...{ works: KNOWN.works, figures: ['idle'], peers: KNOWN.peers },
      ...{ rounds: 3, seconds: 5, cleanerSeconds: 600, sizeBytes: 2 ** 30, strict: false, warm: true, quick: false },
    });
  });

  it('choose works and peers in the order of the table', () => {
    const { works, figures, peers } = optionsOf('--only', 'rand-write-32,rand-read-32', '--peers', 'nbdkit,galleon');
    expect({ works, figures, peers }).toEqual({
      ...{ works: ['rand-read-32', 'rand-write-32'], figures: [], peers: ['galleon', 'nbdkit'] },
    });
  });

  it('leave the figures of Galleon out when only peers are chosen', () => {
    expect(optionsOf('--peers', 'nbdkit').figures).toEqual([]);
  });

  it('add the long ones when they are asked for', () => {
    expect(optionsOf('--sustained').figures).toEqual(['idle', 'sustained']);
    expect(optionsOf('--only', 'sustained')).toMatchObject({ works: [], figures: ['sustained'] });
    expect(optionsOf('--only', 'cleaner', '--cleaner-seconds', '30')).toMatchObject({
      ...{ works: [], figures: ['cleaner'], cleanerSeconds: 30 },
    });
    expect(optionsOf('--all', '--only', 'idle')).toMatchObject({ works: KNOWN.works, figures: KNOWN.figures });
  });

  it('are tiny in a quick run, unless they say otherwise', () => {
    expect(optionsOf('--quick')).toMatchObject({ rounds: 1, quick: true, warm: false });
    expect(optionsOf('--quick', '--rounds', '2').rounds).toBe(2);
  });

  it.each([
    [['--only', 'rand-raed-32'], /--only: there is no rand-raed-32; there are rand-read-32/],
    [['--peers', 'drbd'], /--peers: there is no drbd; there are galleon/],
    [['--rounds', '2'], /--rounds: "2" is not a whole number from 3/],
    [['--rounds', '3.5'], /--rounds/],
    [['--seconds', 'many'], /--seconds/],
    [['--cleaner-seconds', '0'], /--cleaner-seconds/],
    [['--seconds', ''], /--seconds/],
    [['--size', '1X'], /--size/],
    [['--size', '1M'], /--size/],
    [['--sise', '1G'], /--sise/],
    [['somewhere'], /somewhere/],
  ])('refuse %j', (argv, message) => {
    expect(() => parseOptions(argv, KNOWN)).toThrow(message);
  });
});

describe("fio's answer", () => {
  const direction = { iops: 0, bw_bytes: 0, io_bytes: 0, clat_ns: {} };
  const percentile = { '50.000000': 1000, '99.000000': 20_000, '99.900000': 300_000 };
  const answer = (job: object): string =>
    `fio: connected to NBD server\n${JSON.stringify({ jobs: [{ error: 0, read: direction, write: direction, ...job }] })}`;

  it('adds both directions, and takes the latency of writes when there are any', () => {
    const read = {
      iops: 70,
      bw_bytes: 7000,
      io_bytes: 700,
      clat_ns: { percentile: { ...percentile, '99.000000': 1 } },
    };
    const write = { iops: 30, bw_bytes: 3000, io_bytes: 300, clat_ns: { max: 900_000, percentile } };
    expect(parseFio(answer({ read, write }))).toEqual({
      ...{ operationsPerSecond: 100, bytesPerSecond: 10_000, bytes: 1000, p99Us: 20, p999Us: 300, maxUs: 900 },
    });
    expect(parseFio(answer({ read })).p99Us).toBe(0.001);
  });

  it('is refused when fio failed or said something else', () => {
    expect(() => parseFio(answer({ error: 5 }), 'no such export')).toThrow(/error 5: no such export/);
    expect(() => parseFio('fio: engine nbd not loadable')).toThrow('cannot be read');
    expect(() => parseFio('{"jobs": []}')).toThrow('no job');
  });

  it('comes from what was asked', () => {
    const run = { uri: 'nbd+unix:///x?socket=s', sizeBytes: 4096, seconds: 0.5, seed: 7, more: ['--rate_iops=3'] };
    const args = fioArguments(workNamed('rand-write-32'), run);
    expect(args).toEqual(
      expect.arrayContaining(['--uri=nbd+unix:///x?socket=s', '--rw=randwrite', '--bs=4096', '--iodepth=32']),
    );
    expect(args).toEqual(expect.arrayContaining(['--runtime=500ms', '--randseed=7', '--rate_iops=3']));
    const fill = fioArguments(FILL, { ...run, seconds: null });
    expect(fill.some((arg) => arg.startsWith('--runtime'))).toBe(false);
    expect(fill.some((arg) => arg.startsWith('--io_size'))).toBe(false);
    expect(fioArguments(FILL, { ...run, seconds: null, bytes: 8192 })).toContain('--io_size=8192');
    // The data of a fill must not compress.
    expect(fill).toContain('--refill_buffers=1');
  });
});

describe('what other programs say', () => {
  it('of write and flush', () => {
    const said = { pairs: 300, seconds: 2, bytes: 300 * 4096, p99Us: 9, p999Us: 11, maxUs: 12 };
    expect(parseFlushLoop(JSON.stringify(said))).toEqual({
      ...{ operationsPerSecond: 150, bytesPerSecond: 614_400, bytes: 1_228_800, p99Us: 9, p999Us: 11, maxUs: 12 },
    });
    expect(() => parseFlushLoop('Traceback')).toThrow('cannot be read');
    expect(() => parseFlushLoop('{"pairs": 1}')).toThrow('did not tell its seconds');
  });

  it('of a trim', () => {
    expect(parseTrim('{"requests": 5, "seconds": 0.25}')).toEqual({ requests: 5, ms: 250 });
    expect(() => parseTrim('Traceback')).toThrow('cannot be read');
    expect(() => parseTrim('{"requests": 5}')).toThrow('did not tell');
  });

  it('of metrics, by the whole name', () => {
    const metrics = new Metrics('# TYPE moved counter\nmoved_bytes 7\nmoved 12\nmoved{volume="x"} 3\nodd NaN\n');
    expect(metrics.value('moved')).toBe(12);
    expect(() => metrics.value('move')).toThrow('tell of no move');
    expect(() => metrics.value('odd')).toThrow('tell of no odd');
  });

  it('of a recovery', () => {
    const summary = 'after a crash; replayed 9 records (2048 bytes) from 2 segments in 15 ms; dropped 0 records';
    expect(parseRecovery(summary)).toEqual({ bytes: 2048, ms: 15 });
    expect(() => parseRecovery('opened a new store in 3 ms')).toThrow('no replay');
  });

  it('of checkpoints, and which writes met one', () => {
    const time = '2026-01-01T00:00:10.000Z';
    const at = Date.parse(time);
    const spans = checkpointSpans([
      { msg: 'daemon: ready', time },
      { msg: 'store: checkpoint written', time, ms: 200 },
    ]);
    expect(spans).toEqual([{ fromMs: at - 200, toMs: at }]);
    const log = [
      // Completed before it, inside, after it but begun inside, and after it.
      `${at - 201}, 1000000, 1, 4096, 0`,
      `${at - 100}, 2000000, 1, 4096, 0`,
      `${at + 5}, 6000000, 1, 4096, 0`,
      `${at + 5}, 4000000, 1, 4096, 0`,
      '',
    ].join('\n');
    expect(splitLatencies(log, spans)).toEqual({ inside: [2, 6], outside: [1, 4] });
  });

  it('of a process whose name is meant to confuse', () => {
    const after = ['S', '1', ...Array.from({ length: 9 }, () => '0'), '5', '6', '7', '8', '20', '0'];
    expect(parseStat(`42 (a) b (c) ${after.join(' ')}\n`)).toEqual({ pid: 42, parent: 1, ticks: 26 });
    expect(parseStat('42 (short) S 1')).toBeNull();
  });

  it('of the processors', () => {
    expect(parseBusy('cpu  100 10 200 9999 9999 20 30 40 0 0\ncpu0 1 1 1\n')).toBe(4);
    expect(parseBusy('nothing')).toBeNaN();
  });

  it('of this very process', () => {
    expect(residentBytes(process.pid).resident).toBeGreaterThan(residentBytes(process.pid).anonymous);
    expect(runSeconds(process.pid)).toBeGreaterThan(0);
    expect(cpuSeconds(process.pid)).toBeGreaterThan(0);
  });
});

describe('the report', () => {
  const table = {
    head: ['', 'a', 'long head'],
    rows: [
      ['one', '1.00', '2'],
      ['two and more', '3', '4|5'],
    ],
  };

  it('is a table for people', () => {
    expect(textTable(table).split('\n')).toEqual([
      '                 a  long head',
      '------------  ----  ---------',
      'one           1.00          2',
      'two and more     3        4|5',
    ]);
  });

  it('is Markdown for a README', () => {
    expect(markdownTable(table).split('\n')).toEqual([
      '|              |    a | long head |',
      '| ------------ | ---: | --------: |',
      '| one          | 1.00 |         2 |',
      '| two and more |    3 |      4\\|5 |',
    ]);
  });

  it('repeats the options without the paths of this machine', () => {
    const argv = ['--json', 'here.json', '--quick', '--folder=there', '--rounds', '5'];
    expect(withoutPaths(argv)).toEqual(['--quick', '--rounds', '5']);
  });

  it('names what is missing and how to install it', () => {
    const text = describeMissing([
      { what: 'fio with its nbd engine', packages: 'fio' },
      { what: 'nbdkit', packages: 'nbdkit' },
    ]);
    expect(text).toContain('fio with its nbd engine, nbdkit');
    expect(text).toContain('apt-get install fio nbdkit');
  });
});

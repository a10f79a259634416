import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { renderTable } from '../../src/cli/output/table.js';
import { cutText, printable, textWidth } from '../../src/cli/output/text-width.js';
import { CREATED_MS, FakeDaemon } from './fake-daemon.js';
import { runWith } from './run-gfs.js';

const ESCAPE = '\u001b[';

describe('tables', () => {
  let daemon: FakeDaemon;

  beforeEach(async () => {
    daemon = await FakeDaemon.start();
    daemon.add('a-volume-with-a-name-that-is-as-long-as-names-may-be-63-letters', {
      labels: { team: 'web', purpose: 'production-database', site: 'berlin' },
      export: {
        name: 'x',
        uri: '',
        socketUri: '',
        readOnly: false,
        connections: [{ address: 'a', sinceMs: CREATED_MS, inFlight: 0, transport: 'tcp' }],
      },
    });
    daemon.add('data', { state: 'damaged', stateReason: 'x'.repeat(300) });
  });

  afterEach(() => {
    daemon.close();
  });

  test.each([40, 60, 80, 100, 132, 200])(
    'volume list fits %i columns and keeps name, size and state',
    async (columns) => {
      const { stdout } = await runWith(daemon, ['volume', 'list', '--no-color'], { columns });
      const lines = stdout.trimEnd().split('\n');
      expect(lines).toHaveLength(3);
      for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(columns);
      expect(stdout).toMatch(/^NAME/);
      expect(stdout).toContain('SIZE');
      expect(stdout).toContain('damaged');
    },
  );

  test('off a terminal nothing is cut and nothing is left out', async () => {
    const { stdout } = await runWith(daemon, ['volume', 'list']);
    expect(stdout).toContain('a-volume-with-a-name-that-is-as-long-as-names-may-be-63-letters');
    expect(stdout).toContain('purpose=production-database,site=berlin,team=web');
    expect(stdout).toContain('yes, 1 client');
  });

  test.each([['volume', 'list'], ['volume', 'stats'], ['storage-class', 'list'], ['daemon', 'config'], ['events']])(
    '%s %s fits a terminal of 80 columns',
    async (...argv) => {
      const { stdout } = await runWith(daemon, [...argv, '--no-color'], { columns: 80 });
      for (const line of stdout.trimEnd().split('\n')) expect(textWidth(line)).toBeLessThanOrEqual(80);
    },
  );

  test('colours only on a terminal, and not under NO_COLOR or --no-color', async () => {
    const line = ['volume', 'list'];
    expect((await runWith(daemon, line, { columns: 80 })).stdout).toContain(ESCAPE);
    expect((await runWith(daemon, line)).stdout).not.toContain(ESCAPE);
    expect((await runWith(daemon, line, { columns: 80, environment: { NO_COLOR: '1' } })).stdout).not.toContain(ESCAPE);
    expect((await runWith(daemon, [...line, '--no-color'], { columns: 80 })).stdout).not.toContain(ESCAPE);
    // A terminal of CI systems may force colours on libraries; ours decides by itself.
    expect((await runWith(daemon, line, { environment: { FORCE_COLOR: '1' } })).stdout).not.toContain(ESCAPE);
  });

  test('colours do not change what fits', async () => {
    const coloured = await runWith(daemon, ['volume', 'list'], { columns: 60 });
    const plain = await runWith(daemon, ['volume', 'list', '--no-color'], { columns: 60 });

    expect(coloured.stdout.replace(/\u001b\[\d+m/g, '')).toBe(plain.stdout);
  });
});

test('columns are left out in their order before the rest is cut', () => {
  const columns = [
    { title: 'A', value: () => 'aaaaaaaaaa', widthMin: 4 },
    { title: 'B', value: () => 'bbbbb', dropOrder: 1 },
    { title: 'C', value: () => 'ccccc', dropOrder: 2 },
  ];
  expect(renderTable(columns, [0], undefined)).toBe('A           B      C\naaaaaaaaaa  bbbbb  ccccc');
  expect(renderTable(columns, [0], 20)).toBe('A       B      C\naaaaa…  bbbbb  ccccc');
  expect(renderTable(columns, [0], 15)).toBe('A         B\naaaaaaa…  bbbbb');
  expect(renderTable(columns, [0], 8)).toBe('A\naaaaaaa…');
  expect(renderTable(columns, [0], 3)).toBe('A\naa…');
});

test('widths count what a terminal draws', () => {
  expect(textWidth('abc')).toBe(3);
  expect(textWidth('日本')).toBe(4);
  expect(textWidth('e\u0301')).toBe(1);
  expect(cutText('日本語', 5)).toBe('日本…');
  expect(cutText('日本語', 4)).toBe('日…');
});

test('what a stranger sent cannot steer the terminal', () => {
  expect(printable('a\u001b[2Jb\rc\nd\u202ee')).toBe('a\ufffd[2Jb\ufffdc d\ufffde');
});

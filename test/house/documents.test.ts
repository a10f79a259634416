import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Rows of the markdown table whose first header cell is `first`, as lists of cells without backticks. */
function tableRows(markdown: string, first: string): string[][] {
  const lines = markdown.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${first} `));
  const rows = lines.slice(start + 2);
  const end = rows.findIndex((line) => !line.startsWith('|'));
  return rows.slice(0, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll('`', '')),
  );
}

describe('src/README.md', () => {
  it('shows the table of rooms that is enforced', () => {
    const table = JSON.parse(read('scripts/room-table.json')) as Record<string, string[]>;
    const allButCli = Object.keys(table).filter((room) => room !== 'cli' && room !== 'daemon');
    const shown = tableRows(read('src/README.md'), 'room').filter(([room]) => room !== 'main');
    const asTable = shown.map(([room, , imports]) => {
      if (imports === 'all but cli') return [room, allButCli];
      return [room, imports === '-' ? [] : imports.split(' ')];
    });
    expect(Object.fromEntries(asTable)).toEqual(table);
  });

  it('names every file of limits', () => {
    const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
    const limits = files.filter((path) => /(?:^|[/-])limits\.ts$/.test(path)).sort();
    const shown = tableRows(read('src/README.md'), 'file').map(([file]) => file);
    expect(shown.sort()).toEqual(limits);
  });

  it('names no file that does not exist', () => {
    const named = [...read('src/README.md').matchAll(/`([a-z]+\/[a-z/-]+\.ts)`/g)].map((match) => match[1]);
    expect(named.length).toBeGreaterThan(5);
    expect(named.filter((path) => !existsSync(join(root, 'src', path)))).toEqual([]);
  });
});

describe('README.md', () => {
  it('names only commands of package.json that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...read('README.md').matchAll(/npm (?:run )?(start|test|[a-z]+:?[a-z]*)(?= |`|$)/gm)].map(
      (match) => match[1],
    );
    const ofNpm = new Set(['ci', 'link', 'packages']);
    expect(named).toContain('check');
    expect(named.filter((name) => !ofNpm.has(name) && !Object.hasOwn(scripts, name))).toEqual([]);
  });

  it('links only to what is there', () => {
    for (const page of ['README.md', 'src/README.md']) {
      const links = [...read(page).matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1]);
      expect(links.filter((link) => !existsSync(join(root, page, '..', link)))).toEqual([]);
    }
  });
});

describe('the service unit', () => {
  it('tells systemd when it is ready, comes back, and lets Node run', () => {
    const unit = read('systemd/galleonfs.service');
    const settings = unit.split('\n').filter((line) => /^[A-Z]/.test(line));
    expect(settings).toEqual(expect.arrayContaining(['Type=notify', 'Restart=always', 'StateDirectory=galleonfs']));
    expect(settings.some((line) => line.startsWith('MemoryDenyWriteExecute'))).toBe(false);
    expect(settings.some((line) => line.startsWith('ProcSubset'))).toBe(false);
    expect(settings).toContain('SystemCallErrorNumber=EPERM');
    expect(settings.find((line) => line.startsWith('RestrictAddressFamilies='))).toContain('AF_UNIX');
  });

  it('is valid in the eyes of systemd', (context) => {
    const unit = join(root, 'systemd/galleonfs.service');
    const run = spawnSync('systemd-analyze', ['verify', '--recursive-errors=no', unit], { encoding: 'utf8' });
    if (run.error !== undefined) context.skip('systemd-analyze is not installed');
    // Where the package is not installed, its program is missing; everything else must be in order.
    const complaints = run.stderr
      .split('\n')
      .filter((line) => line !== '' && !line.includes('/usr/bin/gfs is not executable'));
    expect(complaints).toEqual([]);
  });
});

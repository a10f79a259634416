import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { missing } from '../nbd/programs.js';

const BENCH = fileURLToPath(new URL('../../scripts/bench/bench.ts', import.meta.url));
const TSX = import.meta.resolve('tsx');
/** None of these needs dist/: our session over a null device, and somebody else's server. */
const TINY = ['--quick', '--no-build', '--size', '16M', '--seconds', '0.2', '--peers', 'null,nbdkit'];

const absent = [missing('fio'), missing('nbdkit')].filter((reason) => reason !== '');
if (absent.length > 0) console.log(`SKIPPED: runs of the bench (${absent.join(', ')})`);

let folder = '';
let temporary = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'bench-test-'));
  temporary = join(folder, 't');
  mkdirSync(temporary);
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function start(args: readonly string[], environment: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, ['--import', TSX, BENCH, ...args], {
    env: { ...process.env, TMPDIR: temporary, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  const ended = once(child, 'close').then(() => ({ status: child.exitCode, stdout, stderr }));
  return { child, ended };
}

/** What is in the temporary folder of the run; tsx keeps a cache of its own there. */
function leftBehind(): string[] {
  return readdirSync(temporary).filter((name) => !name.startsWith('tsx-'));
}

/** Command lines of running processes that name the test's folder. */
function processesOfTest(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(temporary));
}

describe.skipIf(absent.length > 0)('a run of the bench', () => {
  it('measures each peer in each work, and leaves nothing behind', async () => {
    const file = join(folder, 'figures.json');
    const { ended } = start([...TINY, '--only', 'rand-read-32,rand-write-32', '--rounds', '2', '--json', file]);
    const { status, stdout, stderr } = await ended;
    expect(status, stderr).toBe(0);
    const { measured } = JSON.parse(readFileSync(file, 'utf8'));
    expect(measured.map((row: { work: string; peer: string }) => `${row.work} ${row.peer}`)).toEqual([
      ...['rand-read-32 nbdkit', 'rand-read-32 null', 'rand-write-32 nbdkit', 'rand-write-32 null'],
    ]);
    for (const { median, measurements } of measured) {
      expect(measurements).toHaveLength(2);
      expect(median).toBeGreaterThan(0);
    }
    expect(stdout).toContain('random write 4 KiB, depth 32');
    expect(stdout).not.toContain(folder);
    expect(leftBehind()).toEqual([]);
    expect(processesOfTest()).toEqual([]);
  });

  it('ends its servers and removes its files when it is interrupted', async () => {
    const { child, ended } = start([...TINY, '--only', 'rand-read-32', '--seconds', '30', '--peers', 'nbdkit,null']);
    // fio has a server to talk to, and 30 s before it.
    await untilFound(temporary, (name) => name.startsWith('fio-'), ended);
    expect(processesOfTest().some((line) => line.startsWith('nbdkit'))).toBe(true);
    child.kill('SIGINT');
    expect((await ended).status).toBe(130);
    expect(leftBehind()).toEqual([]);
    expect(processesOfTest()).toEqual([]);
  });

  it('fails, and removes its files, when the disk cannot hold the working sets', async () => {
    const { ended } = start([...TINY, '--size', '900T', '--only', 'rand-read-32', '--peers', 'nbdkit']);
    const { status, stderr } = await ended;
    expect(status).toBe(2);
    expect(stderr).toMatch(/nbdkit wants .* GiB of disk, and .* GiB are free/);
    expect(leftBehind()).toEqual([]);
  });
});

describe('a run of the bench that cannot be', () => {
  it('names the programs that are missing and how to install them', async () => {
    const { ended } = start([...TINY, '--only', 'rand-read-32', '--peers', 'nbdkit,qemu-raw'], { PATH: folder });
    const { status, stderr } = await ended;
    expect(status).toBe(2);
    expect(stderr).toContain('not installed: fio with its nbd engine, nbdkit with its file plugin');
    expect(stderr).toContain('apt-get install fio nbdkit');
    expect(leftBehind()).toEqual([]);
  });

  it('lists what there is', async () => {
    const { status, stdout } = await start(['--list']).ended;
    expect(status).toBe(0);
    const figures = ['recovery', 'snapshots', 'snapshot-reads', 'cleaner', 'scrub', 'trims', 'sustained'];
    for (const name of ['rand-write-32', 'flush-1', ...figures, 'qemu-luks']) expect(stdout).toContain(`  ${name} `);
  });
});

/** Resolves when a file whose name fits is anywhere under a folder. Throws when the run ends before. */
async function untilFound(under: string, fits: (name: string) => boolean, ended: Promise<{ stderr: string }>) {
  let over = '';
  void ended.then(({ stderr }) => (over = `it ended: ${stderr}`));
  const isFound = (): boolean => {
    try {
      return readdirSync(under, { recursive: true }).some((path) => fits(String(path).split('/').at(-1) ?? ''));
    } catch (thrown) {
      // A folder of a program that has just ended.
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw thrown;
    }
  };
  while (!isFound()) {
    if (over !== '') throw new Error(over);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NativeFiles } from '../../src/io/native-files.js';

type Holder = ChildProcessByStdio<Writable, Readable, null>;

describe('the lock on a path', () => {
  const files = new NativeFiles();
  const holders: Holder[] = [];
  let folder = '';
  let path = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'galleon-lock-'));
    path = join(folder, 'lock');
  });

  afterEach(async () => {
    for (const holder of holders.splice(0)) {
      if (holder.exitCode !== null || holder.signalCode !== null) continue;
      holder.kill('SIGKILL');
      await once(holder, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  });

  /** Another process that tries; resolves with it and with what it said. */
  async function tryElsewhere(): Promise<{ holder: Holder; said: string }> {
    const script = fileURLToPath(new URL('./lock-child.ts', import.meta.url));
    const holder = spawn(process.execPath, ['--import', 'tsx', script, path], { stdio: ['pipe', 'pipe', 'inherit'] });
    holders.push(holder);
    const [line] = (await once(holder.stdout.setEncoding('utf8'), 'data')) as [string];
    return { holder, said: line.trim() };
  }

  it('excludes another process, and is free once released', async () => {
    const lock = await files.lock(path);
    expect((await tryElsewhere()).said).toBe('LOCKED');
    await lock.release();
    await lock.release();
    expect((await tryElsewhere()).said).toBe('LOCK');
  });

  it('excludes a second holder in the same process', async () => {
    const lock = await files.lock(path);
    await expect(files.lock(path)).rejects.toMatchObject({ fault: { code: 'LOCKED', path } });
    await lock.release();
  });

  it('ends with a process that is killed', async () => {
    const { holder, said } = await tryElsewhere();
    expect(said).toBe('LOCK');
    await expect(files.lock(path)).rejects.toMatchObject({ fault: { code: 'LOCKED', path } });
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    await (await files.lock(path)).release();
  });
});

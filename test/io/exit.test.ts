import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runChild, type ChildOutcome } from './child.js';

describe('leaving with operations in flight', () => {
  let folder = '';

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'galleon-exit-'));
  });

  afterEach(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (how: string): Promise<ChildOutcome> =>
    runChild(new URL('./exit-child.ts', import.meta.url), [folder, how]);

  it('process.exit() ends the process with its status', async () => {
    expect(await run('exit')).toMatchObject({ status: 7, signal: null });
  });

  it('a process whose operations are done ends by itself', async () => {
    expect(await run('idle')).toMatchObject({ status: 0, signal: null, stdout: 'done\n' });
  });

  it('what a callback throws is an uncaught error, and the callbacks behind it run', async () => {
    expect((await run('throw')).stdout).toBe('caught out of a callback\nthe next one ran\n');
  });

  it('a worker thread that is ended in the middle takes nothing with it', async () => {
    expect(await run('worker')).toMatchObject({ status: 0, signal: null, stdout: 'done\n' });
  });

  it('threads that each loaded the addon do not meet', async () => {
    expect(await run('workers')).toMatchObject({ status: 0, signal: null, stdout: 'done\ndone\ndone\n' });
  });
});

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runChildProbe, siblingModule, type ChildProbeOutcome } from '../../src/base/child-probe.js';
import { SystemClock } from '../../src/base/system-clock.js';
import { temporaryFolder } from './temporary-folder.js';

async function run(program: string, timeoutMs = 30_000, fileName = 'probe.mjs'): Promise<ChildProbeOutcome> {
  const path = join(await temporaryFolder(), fileName);
  await writeFile(path, program);
  return runChildProbe({ module: pathToFileURL(path), args: ['one', 'two'], timeoutMs }, new SystemClock());
}

describe('runChildProbe', () => {
  it('takes the last line as the verdict', async () => {
    const outcome = await run('console.log("noise"); console.log(JSON.stringify(process.argv.slice(2)))');
    expect(outcome).toEqual({ kind: 'verdict', verdict: ['one', 'two'] });
  });

  it('runs a TypeScript module where sources run without a build', async () => {
    const outcome = await run('const answer: number = 42; console.log(answer)', 30_000, 'probe.ts');
    expect(outcome).toEqual({ kind: 'verdict', verdict: 42 });
  });

  it('names the signal of a crash', async () => {
    const outcome = await run('process.kill(process.pid, "SIGSEGV"); setInterval(() => {}, 1000)');
    expect(outcome).toEqual({ kind: 'failed', reason: 'crashed with SIGSEGV', signal: 'SIGSEGV' });
  });

  it('names the status and the last words', async () => {
    const outcome = await run('console.error("no such thing"); process.exitCode = 3');
    expect(outcome).toMatchObject({ kind: 'failed', reason: 'exited with status 3: no such thing' });
  });

  it('does not take chatter for a verdict', async () => {
    expect(await run('console.log("hello")')).toMatchObject({ kind: 'failed', reason: 'gave no verdict' });
  });

  it('kills a child that hangs', async () => {
    expect(await run('setInterval(() => {}, 1000)', 300)).toMatchObject({ kind: 'timeout' });
  });

  it('gives the child none of our secrets', async () => {
    process.env.GFS_TEST_SECRET = 'hunter2';
    try {
      expect(await run('console.log(JSON.stringify(process.env.GFS_TEST_SECRET ?? null))')).toEqual({
        kind: 'verdict',
        verdict: null,
      });
    } finally {
      delete process.env.GFS_TEST_SECRET;
    }
  });
});

describe('siblingModule', () => {
  it('keeps the form that the caller runs in', () => {
    expect(siblingModule('file:///a/b/c.ts', 'probe').href).toBe('file:///a/b/probe.ts');
    expect(siblingModule('file:///a/b/c.js', 'probe').href).toBe('file:///a/b/probe.js');
  });
});

/**
 * Looks at something that can kill the process that looks at it: a memory-mapped database whose pages are damaged ends
 * its reader by SIGSEGV or SIGBUS. A child process looks first and prints its verdict, one line of JSON, on stdout.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Clock } from './clock.js';

/** A verdict, or the tail of stderr, longer than this is cut. */
const OUTPUT_BYTES_MAX = 1024 * 1024;
const STDERR_CHARACTERS_SHOWN = 400;

export interface ChildProbeOptions {
  /** Module that the child runs: a `.js` file, or a `.ts` file where sources run without a build. */
  readonly module: URL;
  readonly args: readonly string[];
  readonly timeoutMs: number;
}

export type ChildProbeOutcome =
  /** Exit status 0 and a last line of JSON. */
  | { readonly kind: 'verdict'; readonly verdict: unknown }
  /** Everything else. `reason` ends a sentence: "crashed with SIGSEGV", "exited with status 1: ...", "gave no verdict". */
  | { readonly kind: 'failed'; readonly reason: string; readonly signal: string | null }
  | { readonly kind: 'timeout'; readonly reason: string };

/** The module `name` (no extension) beside the module `from` (its import.meta.url), in the form that `from` runs in. */
export function siblingModule(from: string, name: string): URL {
  return new URL(`./${name}${from.endsWith('.ts') ? '.ts' : '.js'}`, from);
}

/** Runs the probe and resolves when the child has ended; never rejects. The child inherits no secrets: only PATH and HOME. */
export function runChildProbe(options: ChildProbeOptions, clock: Clock): Promise<ChildProbeOutcome> {
  return new Promise((resolve) => {
    const child = spawn(
      process.execPath,
      [...loaderArguments(options.module), fileURLToPath(options.module), ...options.args],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: inherited(['PATH', 'HOME', 'TMPDIR', 'ASAN_OPTIONS', 'LD_PRELOAD']),
      },
    );
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    let timedOut = false;
    const timer = clock.after(options.timeoutMs, () => {
      timedOut = true;
      child.kill('SIGKILL');
    });
    // A child that cannot be spawned emits 'error' and may never emit 'close'.
    child.once('error', (thrown) => {
      clock.clear(timer);
      resolve({ kind: 'failed', reason: `could not be started: ${thrown.message}`, signal: null });
    });
    child.once('close', (status, signal) => {
      clock.clear(timer);
      if (timedOut) {
        resolve({ kind: 'timeout', reason: `gave no verdict within ${String(options.timeoutMs)} ms` });
      } else {
        resolve(judge(status, signal, stdout(), stderr()));
      }
    });
  });
}

function judge(status: number | null, signal: string | null, stdout: string, stderr: string): ChildProbeOutcome {
  if (signal !== null) return { kind: 'failed', reason: `crashed with ${signal}`, signal };
  if (status !== 0) {
    const tail = stderr.trim().slice(-STDERR_CHARACTERS_SHOWN);
    return {
      kind: 'failed',
      reason: `exited with status ${String(status)}${tail === '' ? '' : `: ${tail}`}`,
      signal: null,
    };
  }
  const line = stdout.trimEnd().split('\n').at(-1) ?? '';
  try {
    return { kind: 'verdict', verdict: JSON.parse(line) as unknown };
  } catch {
    return { kind: 'failed', reason: 'gave no verdict', signal: null };
  }
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    // Past the bound it is read on, so that the child does not wait for us, but not kept.
    if (bytes <= OUTPUT_BYTES_MAX) chunks.push(chunk);
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

/** Sources run through tsx; it is resolved from here because the working directory may be anywhere. */
function loaderArguments(module: URL): string[] {
  if (!module.pathname.endsWith('.ts')) return [];
  return ['--import', pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href];
}

function inherited(names: readonly string[]): NodeJS.ProcessEnv {
  const environment: NodeJS.ProcessEnv = {};
  for (const name of names) {
    if (process.env[name] !== undefined) environment[name] = process.env[name];
  }
  return environment;
}

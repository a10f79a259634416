import { fileURLToPath } from 'node:url';
import { BenchError } from './bench-error.js';
import type { Children } from './children.js';
import type { FioFigures } from './fio.js';

const SCRIPT = fileURLToPath(new URL('flush-loop.py', import.meta.url));
/** Debian's own: its libnbd module is for no other Python. */
export const SYSTEM_PYTHON = '/usr/bin/python3';
const GRACE_MS = 60_000;

export interface FlushRun {
  readonly uri: string;
  readonly sizeBytes: number;
  readonly seconds: number;
  readonly seed: number;
}

/** Write and flush at depth 1. Throws BenchError with what it said when it fails. */
export async function runFlushLoop(children: Children, scratch: string, run: FlushRun): Promise<FioFigures> {
  const args = [SCRIPT, run.uri, String(run.sizeBytes), String(run.seconds), String(run.seed)];
  const options = { limitMs: run.seconds * 1000 + GRACE_MS, cwd: scratch };
  const { stdout } = await children.run(SYSTEM_PYTHON, args, options);
  return parseFlushLoop(stdout);
}

/** Throws BenchError when the text is no answer of the loop. */
export function parseFlushLoop(text: string): FioFigures {
  let answer: Record<string, unknown>;
  try {
    answer = JSON.parse(text);
  } catch (thrown) {
    throw new BenchError(`the answer of the flush loop cannot be read (${String(thrown)}): ${text.slice(0, 500)}`);
  }
  const figure = (name: string): number => {
    const value = answer[name];
    if (typeof value !== 'number') throw new BenchError(`the flush loop did not tell its ${name}`);
    return value;
  };
  const seconds = figure('seconds');
  return {
    operationsPerSecond: figure('pairs') / seconds,
    bytesPerSecond: figure('bytes') / seconds,
    bytes: figure('bytes'),
    p99Us: figure('p99Us'),
    p999Us: figure('p999Us'),
    maxUs: figure('maxUs'),
  };
}

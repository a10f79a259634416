/** Clients that fio is not: small programs over libnbd, which end by themselves. */
import { fileURLToPath } from 'node:url';
import type { Bed } from './bed.js';
import { BenchError } from './bench-error.js';
import { SYSTEM_PYTHON } from './flush-loop.js';

const SCATTERED_WRITES = fileURLToPath(new URL('scattered-writes.py', import.meta.url));
const TRIM_RANGE = fileURLToPath(new URL('trim-range.py', import.meta.url));
const CLIENT_MS_MAX = 300_000;

export interface Scatter {
  readonly uri: string;
  readonly sizeBytes: number;
  readonly writes: number;
  readonly seed: number;
}

/** So many writes of 4 KiB at random places. Throws BenchError with what it said when one fails. */
export async function scatterWrites(bed: Bed, { uri, sizeBytes, writes, seed }: Scatter): Promise<void> {
  const args = [SCATTERED_WRITES, uri, String(sizeBytes), String(writes), String(seed)];
  await bed.children.run(SYSTEM_PYTHON, args, { limitMs: CLIENT_MS_MAX, cwd: bed.scratch });
}

export interface TrimFigures {
  readonly requests: number;
  readonly ms: number;
}

/** Trims a range as a kernel would. Throws BenchError with what it said when a request fails. */
export async function trimRange(bed: Bed, uri: string, offset: number, lengthBytes: number): Promise<TrimFigures> {
  const args = [TRIM_RANGE, uri, String(offset), String(lengthBytes)];
  const { stdout } = await bed.children.run(SYSTEM_PYTHON, args, { limitMs: CLIENT_MS_MAX, cwd: bed.scratch });
  return parseTrim(stdout);
}

/** Throws BenchError when the text is no answer of the program. */
export function parseTrim(text: string): TrimFigures {
  let answer: Record<string, unknown>;
  try {
    answer = JSON.parse(text);
  } catch (thrown) {
    throw new BenchError(`the answer of the trim cannot be read (${String(thrown)}): ${text.slice(0, 500)}`);
  }
  const { requests, seconds } = answer;
  if (typeof requests !== 'number' || typeof seconds !== 'number') {
    throw new BenchError(`the trim did not tell its requests and seconds: ${text.slice(0, 500)}`);
  }
  return { requests, ms: seconds * 1000 };
}

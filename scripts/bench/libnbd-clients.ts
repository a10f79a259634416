/** Clients that fio is not: small programs over libnbd, which end by themselves. */
import { fileURLToPath } from 'node:url';
import type { Bed } from './bed.js';
import { SYSTEM_PYTHON } from './flush-loop.js';

const SCATTERED_WRITES = fileURLToPath(new URL('scattered-writes.py', import.meta.url));
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

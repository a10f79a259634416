/**
 * Run as a child process: `node map-probe.js PATH BUDGET_MS`. Looks at the map's database at PATH without changing it: its
 * pages, those of leaves for as long as the budget lasts, then all small rows, and leaves for as long again. Prints one line
 * of JSON, a MapVerdict. That it prints at all says that reading is safe; a damaged page can end a process that maps it.
 */
import { join } from 'node:path';
import { crc32c } from '../../base/crc32c.js';
import { messageOf } from '../../base/errors.js';
import { fileStructureProblem } from '../../base/lmdb-structure.js';
import { SystemClock } from '../../base/system-clock.js';
import { LmdbMapEnvironment } from './lmdb-map-environment.js';
import { COUNT_KEYS, FILTER_KEYS, LAYER_KEYS, LEAF_KEYS, SEGMENT_KEYS } from './map-keys.js';
import type { MapVerdict } from './map-verdict.js';
import { MapRows } from './map-rows.js';

async function probe(path: string, budgetMs: number): Promise<MapVerdict> {
  const clock = new SystemClock();
  let until = clock.monotonicMs() + budgetMs;
  try {
    const structure = fileStructureProblem(join(path, 'data.mdb'), () => clock.monotonicMs() > until);
    if (structure !== '') return { problem: structure };
    until = clock.monotonicMs() + budgetMs;
    const environment = new LmdbMapEnvironment({ path, readOnly: true });
    const reader = new MapRows({
      environment,
      checksums: {
        crc32c: (bytes, offset, length, seed) => crc32c(bytes.subarray(offset, offset + length), seed),
      },
    });
    try {
      for (const range of [LAYER_KEYS, SEGMENT_KEYS, COUNT_KEYS, FILTER_KEYS, LEAF_KEYS]) {
        const rows = reader.range(range);
        // Each step holds a row to its checksum.
        while (rows.next().done !== true && (range !== LEAF_KEYS || clock.monotonicMs() <= until));
      }
    } finally {
      await reader.close();
    }
    return { problem: '' };
  } catch (thrown) {
    return { problem: messageOf(thrown) };
  }
}

const [path, budget] = process.argv.slice(2);
if (path === undefined || budget === undefined) {
  process.stderr.write('usage: map-probe PATH BUDGET_MS\n');
  process.exitCode = 2;
} else {
  process.stdout.write(`${JSON.stringify(await probe(path, Number(budget)))}\n`);
}

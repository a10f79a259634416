import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChildProbe, siblingModule } from '../../base/child-probe.js';
import type { Clock } from '../../base/clock.js';
import { MAP_PROBE_LEAVES_MS, MAP_PROBE_TIMEOUT_MS } from '../limits.js';

/** What the probe says of the map's database. */
export interface MapVerdict {
  /** '' or what is wrong, as far as the time for leaves went: the rest is judged row by row when it is read. */
  readonly problem: string;
}

/** Looks at the map's database from a child process: '' or what is wrong with it. A database that is not there is fine. */
export async function probeMap(path: string, clock: Clock): Promise<string> {
  if (!existsSync(join(path, 'data.mdb'))) return '';
  const module = siblingModule(import.meta.url, 'map-probe');
  const outcome = await runChildProbe(
    { module, args: [path, String(MAP_PROBE_LEAVES_MS)], timeoutMs: MAP_PROBE_TIMEOUT_MS },
    clock,
  );
  if (outcome.kind !== 'verdict') return `a process that read it ${outcome.reason}`;
  return (outcome.verdict as MapVerdict).problem;
}

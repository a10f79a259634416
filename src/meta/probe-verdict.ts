import { runChildProbe, siblingModule } from '../base/child-probe.js';
import type { Clock } from '../base/clock.js';
import { MetaError } from './meta-error.js';

/** What the probe says of an environment. */
export interface ProbeVerdict {
  /** false: it opens with an error, `reason`. */
  readonly readable: boolean;
  readonly reason: string;
  readonly damagedCount: number;
  /** The first of the damaged keys. */
  readonly damaged: readonly string[];
  /** The state record is missing or damaged. */
  readonly stateDamaged: boolean;
  /** false: every record is valid, yet some are missing or old. */
  readonly sumMatches: boolean;
}

/** Looks at the environment from a child process. Throws MetaError DAMAGED, with the reason, when it cannot be read. */
export async function probeEnvironment(path: string, timeoutMs: number, clock: Clock): Promise<ProbeVerdict> {
  const module = siblingModule(import.meta.url, 'probe');
  const outcome = await runChildProbe({ module, args: [path], timeoutMs }, clock);
  if (outcome.kind !== 'verdict') throw unreadable(path, `a process that read it ${outcome.reason}`);
  const verdict = outcome.verdict as ProbeVerdict;
  if (!verdict.readable) throw unreadable(path, verdict.reason);
  return verdict;
}

function unreadable(path: string, reason: string): MetaError {
  const text = `the metadata in ${path} is damaged (${reason}); restore the newest copy of that folder`;
  return new MetaError(text, { code: 'DAMAGED', key: '' });
}

import { createInterface } from 'node:readline/promises';
import { CliError, usageError } from './cli-error.js';
import type { Session } from './session.js';

/**
 * Asks before something is destroyed. Only a terminal is asked; without one nobody could answer, so it never waits:
 * throws USAGE that says what to add. Throws CANCELLED on anything but yes.
 */
export async function confirm(session: Session, question: string, instead: string): Promise<void> {
  const { world } = session;
  if (!world.interactive) throw usageError(`${question} Nobody can be asked here: ${instead}`);
  const prompt = createInterface({ input: world.stdin, output: world.stderr.stream });
  try {
    const answer = await prompt.question(`${question} [y/N] `, { signal: world.signal });
    if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('nothing was changed', { code: 'CANCELLED' });
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown;
    throw new CliError('nothing was changed', { code: 'CANCELLED' }, { cause: thrown });
  } finally {
    prompt.close();
  }
}

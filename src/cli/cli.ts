import { messageOf } from '../base/errors.js';
import { programVersion } from '../base/program-version.js';
import { COMMANDS } from './commands.js';
import { parseCommandLine } from './command-line.js';
import { ClientError } from '../ipc/client-error.js';
import { CliError } from './cli-error.js';
import { EXIT, exitCodeOf } from './exit-code.js';
import { helpText } from './help.js';
import { printable } from './output/text-width.js';
import { Session } from './session.js';
import type { World } from './world.js';

/** Runs one command line (without the program's name) and resolves to its exit status. Never throws. */
export async function runCli(argv: readonly string[], world: World): Promise<number> {
  let session: Session | undefined;
  try {
    const line = parseCommandLine(argv, COMMANDS);
    if (line.kind === 'help') {
      world.stdout.write(helpText(line.verb, COMMANDS));
      return EXIT.ok;
    }
    if (line.kind === 'version') {
      world.stdout.write(`gfs ${programVersion()}\n`);
      return EXIT.ok;
    }
    session = new Session(world, line.globals);
    return (await line.command.run(line.words, line.options, session)) ?? EXIT.ok;
  } catch (thrown) {
    // `| head` is no failure, and nobody is left to read about it.
    if (world.signal.aborted && world.signal.reason === 'broken-pipe') return EXIT.ok;
    world.stderr.write(`gfs: ${printable(errorLine(thrown))}\n`);
    if (isBug(thrown) && world.environment['GFS_DEBUG'] !== undefined) world.stderr.write(`${thrown.stack ?? ''}\n`);
    return exitCodeOf(thrown);
  } finally {
    await session?.close();
  }
}

/** The one line that a failure is told in. */
function errorLine(thrown: unknown): string {
  return messageOf(thrown)
    .trim()
    .replace(/\s*\n\s*/g, '; ');
}

function isBug(thrown: unknown): thrown is Error {
  return thrown instanceof Error && !(thrown instanceof CliError) && !(thrown instanceof ClientError);
}

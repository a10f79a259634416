import { SystemClock } from '../base/system-clock.js';
import { registryPlace } from '../ipc/daemon-registry.js';
import { runCli } from './cli.js';
import { EXIT } from './exit-code.js';
import type { Sink, World } from './world.js';

/**
 * Runs the command line in this process and resolves to its exit status.
 *
 * Ctrl-C asks the command to end in order (an import waits until the daemon has removed what it began); a second one
 * ends at once. A reader of our output that goes away ends the command quietly.
 */
export async function runCliProcess(argv: readonly string[]): Promise<number> {
  const interruption = new AbortController();
  const interrupt = (): void => {
    if (interruption.signal.aborted) process.exit(EXIT.interrupted);
    interruption.abort('interrupted');
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  process.on('SIGHUP', interrupt);
  process.stdout.on('error', () => {
    interruption.abort('broken-pipe');
  });
  // Nobody reads what goes wrong either: there is nothing left to tell, but the work goes on.
  process.stderr.on('error', () => undefined);

  const world: World = {
    environment: process.env,
    workingFolder: process.cwd(),
    stdout: new StreamSink(process.stdout),
    stderr: new StreamSink(process.stderr),
    stdin: process.stdin,
    interactive: process.stdin.isTTY && process.stderr.isTTY,
    signal: interruption.signal,
    clock: new SystemClock(),
    registry: registryPlace(process.env),
  };
  const status = await runCli(argv, world);
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
  return interruption.signal.reason === 'broken-pipe' && status === EXIT.interrupted ? EXIT.ok : status;
}

class StreamSink implements Sink {
  readonly stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream) {
    this.stream = stream;
  }

  get isTerminal(): boolean {
    return this.stream.isTTY;
  }

  get columns(): number | undefined {
    if (!this.stream.isTTY) return undefined;
    // A terminal that does not know its width says 0.
    return this.stream.columns > 0 ? this.stream.columns : 80;
  }

  write(text: string): void {
    if (!this.stream.destroyed) this.stream.write(text);
  }
}

/** What is written to a pipe leaves asynchronously, and `process.exit` would cut it off. */
function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    else
      stream.write('', () => {
        resolve();
      });
  });
}

import type { Clock } from '../base/clock.js';
import type { RegistryPlace } from '../ipc/daemon-registry.js';

/** What the command line sees of its process; tests give it another one. */
export interface World {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingFolder: string;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly stdin: NodeJS.ReadableStream;
  /** A person sits there: standard input and error are terminals, so questions can be asked. */
  readonly interactive: boolean;
  /** Aborted by Ctrl-C, SIGTERM, or a reader of our output that went away. */
  readonly signal: AbortSignal;
  readonly clock: Pick<Clock, 'wallMs' | 'monotonicMs'>;
  readonly registry: RegistryPlace;
}

export interface Sink {
  write(text: string): void;
  /** Where questions and progress bars are drawn. */
  readonly stream: NodeJS.WritableStream;
  readonly isTerminal: boolean;
  /** Width in columns; undefined when it is not a terminal. */
  readonly columns: number | undefined;
}

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { programLine } from '../system/daemon-process.js';
import type { Outcome, VolumeContents } from './contents.js';
import type { MetaJob } from './meta-visit.js';

export interface StoreJob {
  readonly kind: 'store';
  /** The storage path. */
  readonly path: string;
  readonly volumes: readonly VolumeContents[];
  /** Ends the first opening as kill -9 would, not by a stop. */
  readonly kill: boolean;
}

export type OpenerJob = StoreJob | MetaJob;

export interface OpenerAnswer {
  /** null: `failure` says what went wrong. */
  readonly outcome: (Outcome & { readonly rebuilt: boolean }) | string | null;
  readonly failure: string;
  readonly log: readonly string[];
}

const ANSWER_WAIT_MS = 120_000;

/** The child process that opens damaged databases. A crash or a hang of it is an answer too, and it is started anew. */
export class OpenerProcess {
  #child: ChildProcess | null = null;
  #lines: Interface | null = null;
  #stderr = '';

  run(job: OpenerJob): Promise<OpenerAnswer> {
    const child = (this.#child ??= this.#start());
    return new Promise((resolve) => {
      const settle = (answer: OpenerAnswer): void => {
        clearTimeout(timer);
        child.removeAllListeners('close');
        this.#lines?.removeAllListeners('line');
        resolve(answer);
      };
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        this.#child = null;
        settle(failed('the process that opened it hangs'));
      }, ANSWER_WAIT_MS);
      this.#lines?.once('line', (line) => settle(JSON.parse(line) as OpenerAnswer));
      child.once('close', (status, signal) => {
        this.#child = null;
        settle(
          failed(`the process that opened it ended with ${String(signal ?? status)}\n${this.#stderr.slice(-2000)}`),
        );
      });
      child.stdin?.write(`${JSON.stringify(job)}\n`);
    });
  }

  #start(): ChildProcess {
    const built = programLine().length === 2;
    const child = spawn(
      process.execPath,
      [
        '--import',
        fileURLToPath(import.meta.resolve('tsx')),
        fileURLToPath(new URL('./opener.ts', import.meta.url)),
        built ? 'dist' : 'src',
      ],
      { stdio: ['pipe', 'pipe', 'pipe'] },
    );
    this.#stderr = '';
    child.stderr.on('data', (data: Buffer) => {
      this.#stderr = (this.#stderr + data.toString()).slice(-10_000);
    });
    // A job for a child that has just died: 'close' tells of it.
    child.stdin.on('error', () => undefined);
    this.#lines = createInterface({ input: child.stdout });
    return child;
  }

  async close(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null) return;
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}

function failed(failure: string): OpenerAnswer {
  return { outcome: null, failure, log: [] };
}

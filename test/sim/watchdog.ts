import { Worker } from 'node:worker_threads';

/**
 * Runs beside the simulation, in a thread of its own: when no turn has ended for a while, a loop in the one thread of the
 * world never gives it back, and nothing inside can say so any more. Names the seed and where the thread is, and ends the
 * process. Plain JavaScript, since threads know no TypeScript.
 */
const GUARD = `
  const { workerData } = require('node:worker_threads');
  const { writeSync } = require('node:fs');
  const { Session } = require('node:inspector');
  const words = new Int32Array(workerData.words);
  let last = -1;
  let since = Date.now();
  const end = (where) => {
    const seed = (words[1] >>> 0) + words[4] * 2 ** 32;
    writeSync(2, '\\nHUNG: seed ' + seed + ', in step ' + words[2] + ': no turn has ended for ' + workerData.patienceMs +
      ' ms of real time' + where + '\\nagain:  npm run sim -- --seed ' + seed + ' --steps ' + words[3] + '\\n');
    process.kill(process.pid, 'SIGKILL');
  };
  setInterval(() => {
    const turns = Atomics.load(words, 0);
    if (turns !== last) {
      last = turns;
      since = Date.now();
      return;
    }
    if (Date.now() - since < workerData.patienceMs) return;
    since = Date.now();
    // The thread's stack, asked for while it runs; the process ends also if that is not told.
    setTimeout(() => end(''), 2000);
    const session = new Session();
    session.connectToMainThread();
    session.on('Debugger.paused', ({ params }) => {
      end(params.callFrames.slice(0, 12).map((frame) => '\\n  in ' + frame.functionName).join(''));
    });
    session.post('Debugger.enable', () => session.post('Debugger.pause'));
  }, 500);
`;

export class Watchdog {
  /** Turns, low half of the seed, step, steps of the run, high half of the seed. */
  readonly #words = new Int32Array(new SharedArrayBuffer(20));
  /** Resolves when somebody watches. */
  readonly ready: Promise<void>;

  /** `patienceMs`: real time without the end of a turn after which the process is ended. */
  constructor(options: { patienceMs: number }) {
    const worker = new Worker(GUARD, {
      eval: true,
      workerData: { words: this.#words.buffer, patienceMs: options.patienceMs },
    });
    this.ready = new Promise((resolve) => worker.once('online', resolve));
    worker.unref();
  }

  /** A turn of the simulated world has ended, or something else shows that it lives. */
  readonly alive = (): void => {
    Atomics.add(this.#words, 0, 1);
  };

  /** What runs now. */
  at(seed: number, step: number, steps: number): void {
    this.#words[1] = seed;
    this.#words[4] = Math.floor(seed / 2 ** 32);
    this.#words[2] = step;
    this.#words[3] = steps;
    this.alive();
  }
}

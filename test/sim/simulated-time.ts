import type { Clock, Timer } from '../../src/base/clock.js';

/** What runs on a machine and can be killed: nothing of a dead one happens any more. */
export interface Mortal {
  readonly dead: boolean;
}

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Mortal;
  readonly run: () => void;
  cancelled: boolean;
}

/**
 * The one thread of the simulated world. Tasks run one by one in the order of their times; between two of them the
 * microtask queue is drained, as Node does between callbacks, so that a run depends on nothing but its seed. Time
 * costs nothing: it jumps to the next task.
 */
export class SimulatedTime {
  #nowMs = 0;
  #order = 0;
  #scheduled = false;
  /** A binary heap by (atMs, order). */
  readonly #tasks: Task[] = [];
  /** Told after each task. */
  onTurn: () => void = () => undefined;
  /** Told when nothing is left that could happen. */
  onIdle: () => void = () => undefined;
  /** Told of what a task throws. */
  onThrow: (thrown: unknown) => void = () => undefined;
  /** Tasks that ran. */
  turns = 0;
  readonly #alarms = new Map<object, { readonly atTurn: number; readonly tell: () => void }>();

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Runs `run` after `delayMs`, unless its owner has died by then. */
  schedule(delayMs: number, owner: Mortal, run: () => void): Task {
    const task: Task = { atMs: this.#nowMs + delayMs, order: this.#order++, owner, run, cancelled: false };
    this.#push(task);
    this.#arm();
    return task;
  }

  /** Tells, unless it is cleared by `owner` before, when so many more tasks have run. */
  alarm(owner: object, turns: number, tell: () => void): void {
    this.#alarms.set(owner, { atTurn: this.turns + turns, tell });
  }

  clearAlarm(owner: object): void {
    this.#alarms.delete(owner);
  }

  sleep(delayMs: number, owner: Mortal): Promise<void> {
    return new Promise((resolve) => void this.schedule(delayMs, owner, resolve));
  }

  #arm(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    for (;;) {
      const task = this.#pop();
      if (task === null) {
        this.onIdle();
        return;
      }
      if (task.cancelled || task.owner.dead) continue;
      this.#nowMs = task.atMs;
      this.turns += 1;
      this.#arm();
      try {
        task.run();
      } catch (thrown) {
        this.onThrow(thrown);
      }
      this.onTurn();
      for (const { atTurn, tell } of this.#alarms.values()) if (this.turns >= atTurn) tell();
      return;
    }
  };

  #push(task: Task): void {
    const heap = this.#tasks;
    let at = heap.length;
    heap.push(task);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (!before(task, heap[up])) break;
      heap[at] = heap[up];
      at = up;
    }
    heap[at] = task;
  }

  #pop(): Task | null {
    const heap = this.#tasks;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined) return null;
    if (heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let down = 2 * at + 1;
      if (down >= heap.length) break;
      if (down + 1 < heap.length && before(heap[down + 1], heap[down])) down += 1;
      if (!before(heap[down], last)) break;
      heap[at] = heap[down];
      at = down;
    }
    heap[at] = last;
    return top;
  }
}

function before(left: Task, right: Task): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** The clock of one process: its timers die with it. */
export class SimulatedClock implements Clock {
  readonly #time: SimulatedTime;
  readonly #owner: Mortal;

  constructor(time: SimulatedTime, owner: Mortal) {
    this.#time = time;
    this.#owner = owner;
  }

  wallMs(): number {
    return 1_700_000_000_000 + this.#time.nowMs;
  }

  monotonicMs(): number {
    return this.#time.nowMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    return this.#time.schedule(delayMs, this.#owner, callback) as unknown as Timer;
  }

  clear(timer: Timer): void {
    (timer as unknown as Task).cancelled = true;
  }

  endOfTurn(callback: () => void): void {
    this.#time.schedule(0, this.#owner, callback);
  }
}

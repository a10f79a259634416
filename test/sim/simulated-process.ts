import type { Mortal } from './simulated-time.js';

/**
 * One life of the daemon. It can be told to die at its n-th step: a step is any moment before or after something changes
 * on the disk.
 */
export class SimulatedProcess implements Mortal {
  #dead = false;
  #stepsLeft = Number.POSITIVE_INFINITY;
  /** What the kernel is doing for it, by name: each may get a part of it done when the process dies. */
  readonly underway = new Map<() => void, string>();
  /** Resolves when it is dead. */
  readonly death: Promise<void>;
  #tellDeath: () => void = () => undefined;
  steps = 0;

  constructor() {
    this.death = new Promise((resolve) => (this.#tellDeath = resolve));
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** It will die at its step of this number from now. */
  dieAfter(steps: number): void {
    this.#stepsLeft = steps;
  }

  step(): void {
    if (this.#dead) return;
    this.steps += 1;
    this.#stepsLeft -= 1;
    if (this.#stepsLeft <= 0) this.die();
  }

  die(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const abandon of this.underway.keys()) abandon();
    this.underway.clear();
    this.#tellDeath();
  }
}

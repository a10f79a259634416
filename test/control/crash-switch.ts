export class Crash extends Error {}

/**
 * Counts the steps that change something durable and "kills the process" at one of them: from then on nothing that the
 * dead process still tries has an effect. `before` true: the step itself has not happened.
 */
export class CrashSwitch {
  steps: string[] = [];
  #at = -1;
  #before = true;
  dead = false;

  arm(step: number, before: boolean): void {
    this.steps = [];
    this.#at = step;
    this.#before = before;
    this.dead = false;
  }

  disarm(): void {
    this.arm(-1, true);
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.dead) throw new Crash(name);
    const number = this.steps.length;
    this.steps.push(name);
    if (number === this.#at && this.#before) {
      this.dead = true;
      throw new Crash(name);
    }
    const result = await work();
    if (number === this.#at) {
      this.dead = true;
      throw new Crash(name);
    }
    return result;
  }
}

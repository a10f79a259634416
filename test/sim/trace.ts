import { createHash, type Hash } from 'node:crypto';

/** What happened, line by line: two runs of one script have the same. */
export class Trace {
  readonly #hash: Hash = createHash('sha256');
  /** The newest lines, for whoever has to understand a failure. */
  readonly lines: string[] = [];
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  add(line: string): void {
    const text = `${this.#nowMs().toFixed(3)} ${line}`;
    this.#hash.update(text).update('\n');
    this.lines.push(text);
    if (this.lines.length > 4000) this.lines.splice(0, 2000);
  }

  digest(): string {
    return this.#hash.copy().digest('hex');
  }
}

import { DeviceError } from '../../src/device/device-error.js';
import { FileError } from '../../src/io/file-error.js';
import { StoreError } from '../../src/store/store-error.js';
import { Violation } from './expectations.js';
import { describe, type SimulatedNode } from './simulated-node.js';

/** The store believes a full disk for a second. */
const FULL_BELIEVED_MS = 2500;

/** What the control plane asks of the store, held against what it may answer. */
export class Verbs {
  readonly #node: SimulatedNode;

  constructor(node: SimulatedNode) {
    this.#node = node;
  }

  /** A layer verb or a checkpoint: it may fail only when the disk did, or as the caller expects. '' or the code of the failure. */
  async run(what: string, run: () => Promise<unknown>, ...mayFailWith: string[]): Promise<string> {
    const node = this.#node;
    const { faults, time, store, process } = node.machine;
    const before = { openings: node.expectations.openings, atMs: time.nowMs };
    const troubled = store?.state !== 'ready';
    let code = '';
    const { verbs } = node;
    verbs.set(what, (verbs.get(what) ?? 0) + 1);
    try {
      await run();
      node.count(what);
    } catch (thrown) {
      if (process.dead) return new Promise(() => undefined);
      code = codeOf(thrown);
      node.trace.add(`${what} fails: ${code}`);
      const reopened = node.expectations.openings > before.openings;
      const failed = troubled || faults.troubles(before.atMs) || reopened || node.machine.halfRead;
      const full = faults.noSpaceAtMs >= before.atMs - FULL_BELIEVED_MS;
      const fair =
        mayFailWith.includes(code) ||
        (code === 'IO' && failed) ||
        (code === 'FULL' && full) ||
        // A snapshot that was not promised yet may be gone.
        (code === 'NOT_FROZEN' && (troubled || reopened)) ||
        (code === 'CLOSED' && node.clients.closing);
      if (!fair) node.report(new Violation(`${what} fails: ${describe(thrown)}`));
    }
    const others = (verbs.get(what) ?? 1) - 1;
    if (others > 0) verbs.set(what, others);
    else verbs.delete(what);
    // Whoever waits for it has been told of the death.
    if (process.dead) return new Promise(() => undefined);
    node.guard(() => node.notice());
    return code;
  }

  /** Holds what a verb has promised: its record is in the journal, and durable. */
  promised(what: string, sequence: number | undefined): void {
    const node = this.#node;
    if (sequence === undefined || !Number.isFinite(sequence)) throw new Violation(`${what} is not in the journal`);
    node.clients.checkPoison(what);
    node.expectations.durable = Math.max(node.expectations.durable, sequence);
  }
}

function codeOf(thrown: unknown): string {
  const known = thrown instanceof StoreError || thrown instanceof FileError || thrown instanceof DeviceError;
  return known ? thrown.code : 'unknown';
}

const EIO = -5;
const ENOSPC = -28;
/** A failed call may take so long to become a failed request. */
const FAULT_SPREADS_MS = 1000;

/** What can be made to fail. `open` is a read of sealed blocks; a plain read fails where the medium is bad, or as a `read`. */
export const FAULT_CALLS = ['append', 'open', 'write', 'sync', 'writeback', 'allocate', 'commit', 'directory'] as const;
/** `read`: of a page of a segment, by a start. A script has it in place of some failing reads of blocks. */
export type FaultCall = (typeof FAULT_CALLS)[number] | 'read';

export interface Arm {
  readonly call: FaultCall;
  /** Calls that go well before the first one that fails. */
  readonly skip: number;
  /** Calls that fail then. */
  readonly times: number;
  readonly errno: 'EIO' | 'ENOSPC';
}

/** The faults that wait for their calls, and the count of those that have happened. */
export class FaultPlan {
  #arms: { readonly arm: Arm; skip: number; times: number }[] = [];
  /** Faults that have happened, by name. */
  readonly fired = new Map<string, number>();
  count = 0;
  /** Those of them that were armed: the rest are the disk being full. */
  planned = 0;
  /** When the last one happened. */
  lastAtMs = Number.NEGATIVE_INFINITY;
  /** When something last found no space, by whatever cause. */
  noSpaceAtMs = Number.NEGATIVE_INFINITY;
  readonly #nowMs: () => number;
  /** When a call of this kind last failed. */
  readonly lastOf = new Map<FaultCall, number>();
  /**
   * A sync or writeback has failed, and no store has been ready since that was opened after it. Until then the disk rules:
   * what only the page cache held may be gone, and every change, flush and verb may fail.
   */
  inDoubt = false;
  /** Told of each fault that happens. */
  onFired: (name: string) => void = () => undefined;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  arm(arm: Arm): void {
    this.#arms.push({ arm, skip: arm.skip, times: arm.times });
  }

  /** Whether something that began at this time may fail. */
  troubles(sinceMs: number): boolean {
    return this.lastAtMs >= sinceMs - FAULT_SPREADS_MS || this.inDoubt;
  }

  /** No armed fault happens any more. */
  disarm(): void {
    this.#arms = [];
  }

  get armed(): number {
    return this.#arms.length;
  }

  /** A negative errno when this call is to fail, else 0. */
  take(call: FaultCall): number {
    for (const row of this.#arms) {
      if (row.arm.call !== call) continue;
      if (row.skip > 0) {
        row.skip -= 1;
        continue;
      }
      row.times -= 1;
      if (row.times === 0) this.#arms.splice(this.#arms.indexOf(row), 1);
      this.#note(`${call} ${row.arm.errno}`);
      this.planned += 1;
      this.lastOf.set(call, this.lastAtMs);
      if (call === 'sync' || call === 'writeback') this.inDoubt = true;
      if (row.arm.errno === 'ENOSPC') this.noSpaceAtMs = this.#nowMs();
      return row.arm.errno === 'EIO' ? EIO : ENOSPC;
    }
    return 0;
  }

  /** The disk is really full. */
  full(): void {
    this.noSpaceAtMs = this.#nowMs();
    this.#note('disk full');
  }

  #note(name: string): void {
    this.count += 1;
    this.lastAtMs = this.#nowMs();
    this.fired.set(name, (this.fired.get(name) ?? 0) + 1);
    this.onFired(name);
  }
}

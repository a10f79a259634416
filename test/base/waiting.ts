/** Waiting for what happens without an event of its own; never for a length of time. */

/** How long something may take before it counts as never coming. */
const NEVER_MS = 30_000;

/** Lets everything that is ready happen, in this process. */
export async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Lets promises and immediates that are under way come to rest. */
export function settle(): Promise<void> {
  return turns(20);
}

/** Resolves as soon as `check` holds; rejects when it does not come to that. */
export async function comesTrue(what: string, check: () => boolean): Promise<void> {
  const deadline = Date.now() + NEVER_MS;
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not after ${String(NEVER_MS)} ms: ${what}`);
    await turns(1);
  }
}

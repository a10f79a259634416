import { cancelled } from './control-error.js';

/** On whose behalf an operation runs. */
export interface Caller {
  /** For the event log: "cli uid=0", "api 127.0.0.1:4242", "daemon". */
  readonly actor: string;
  /** Aborted when the client has gone. Steps look at it; what is half done by then is undone. */
  readonly signal?: AbortSignal;
}

/** Between two steps of something that can still be undone. */
export function throwIfCancelled(caller: Caller): void {
  if (caller.signal?.aborted === true) throw cancelled();
}

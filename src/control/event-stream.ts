import { ControlError } from './control-error.js';
import { concerns, type EventLog, type EventRecord } from './event-log.js';
import { EVENTS_FOLLOWER_BEHIND_MAX } from './limits.js';

export interface EventQuery {
  /** Newest so many of the past; 0: all that are kept. */
  readonly limit: number;
  /** A volume's name or id; '': all. */
  readonly volume: string;
  /** Go on with what comes. */
  readonly follow: boolean;
}

/**
 * Past events, then (when following) new ones until `signal` is aborted. A follower that does not keep up is cut off
 * with an error rather than held in memory.
 */
export async function* streamEvents(
  log: EventLog,
  query: EventQuery,
  signal: AbortSignal,
): AsyncGenerator<EventRecord, void, void> {
  let waiting: EventRecord[] = [];
  let behind = false;
  let wake: () => void = () => undefined;
  // Following starts before the past is read, in the same turn: nothing falls between.
  const stop = log.follow((event) => {
    if (query.volume !== '' && !concerns(event, query.volume)) return;
    if (waiting.length >= EVENTS_FOLLOWER_BEHIND_MAX) behind = true;
    else waiting.push(event);
    wake();
  });
  const onAbort = (): void => {
    wake();
  };
  signal.addEventListener('abort', onAbort);
  try {
    let ready = log.recent(query.limit, query.volume);
    for (;;) {
      for (const event of ready) {
        if (signal.aborted) return;
        yield event;
      }
      if (!query.follow) return;
      if (behind) throw new ControlError('this follower is too slow; ask again', { code: 'UNAVAILABLE' });
      if (waiting.length === 0 && !signal.aborted) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      ready = waiting;
      waiting = [];
      if (signal.aborted) return;
    }
  } finally {
    stop();
    signal.removeEventListener('abort', onAbort);
  }
}

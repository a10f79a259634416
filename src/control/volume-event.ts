import type { Caller } from './caller.js';
import type { NewEvent } from './event-log.js';
import type { VolumeRecord } from './volume-record.js';

/** What every event says that a call about a volume makes; `kind` and `message` are the call's own. */
export function eventOf(record: VolumeRecord, caller: Caller): Omit<NewEvent, 'kind' | 'message'> {
  return { volume: record.displayName, volumeId: record.id, actor: caller.actor, level: 'info' };
}

import type { Clock, Timer } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import {
  EVENT_TEXT_LENGTH_MAX,
  EVENTS_BATCH_MAX,
  EVENTS_CHUNKS_DELETED_MAX,
  EVENTS_DELAY_MS_MAX,
  EVENTS_KEPT_MAX,
  EVENTS_PENDING_MAX,
  REFERENCE_LENGTH_MAX,
} from './limits.js';
import { EVENTS_PREFIX, eventsKey } from './meta-keys.js';

export type EventLevel = 'info' | 'warn' | 'error';

/** What happened, for people who ask later. */
export interface EventRecord {
  /** Grows by one per event, also over restarts. */
  readonly id: number;
  /** Wall clock, milliseconds since 1970. */
  readonly atMs: number;
  /** `volume.created`, `export.opened`, `client.connected`, `request.failed`, ... */
  readonly kind: string;
  /** Name at that time; '' when it concerns no volume. */
  readonly volume: string;
  readonly volumeId: string;
  readonly actor: string;
  readonly message: string;
  readonly level: EventLevel;
}

export type NewEvent = Omit<EventRecord, 'id' | 'atMs'>;

export interface EventLogOptions {
  readonly keptMax?: number;
}

interface Chunk {
  readonly key: string;
  readonly count: number;
}

/**
 * The newest events, in memory and (at most EVENTS_DELAY_MS_MAX later) in the MetaStore. Events that come close
 * together are stored as one value in one transaction, so that a storm of connections costs few syncs; a kill loses
 * at most the events of that delay.
 */
export class EventLog implements Closable {
  readonly #keptMax: number;
  readonly #meta: MetaStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<(event: EventRecord) => void>();
  readonly #flushes = new Mutex();
  #kept: EventRecord[] = [];
  #pending: EventRecord[] = [];
  #chunks: Chunk[] = [];
  #storedCount = 0;
  #lastId = 0;
  #dropped = 0;
  #timer: Timer | null = null;
  #state: 'new' | 'running' | 'closed' = 'new';

  constructor(options: EventLogOptions, { meta, clock, log }: { meta: MetaStore; clock: Clock; log: Log }) {
    this.#keptMax = options.keptMax ?? EVENTS_KEPT_MAX;
    this.#meta = meta;
    this.#clock = clock;
    this.#log = log;
  }

  /** Loads what earlier runs left. A damaged chunk costs its events, not the start. */
  async start(): Promise<void> {
    const { entries, damaged } = await this.#meta.list(EVENTS_PREFIX);
    for (const entry of entries) {
      // Ids go on above every chunk, also one whose content is lost.
      this.#lastId = Math.max(this.#lastId, Number(entry.key.slice(EVENTS_PREFIX.length)));
      try {
        const events = decodeJson(entry) as EventRecord[];
        if (!Array.isArray(events) || events.length === 0) continue;
        this.#kept.push(...events);
        this.#chunks.push({ key: entry.key, count: events.length });
        this.#storedCount += events.length;
        this.#lastId = Math.max(this.#lastId, events[events.length - 1].id);
      } catch (thrown) {
        this.#log.warn({ key: entry.key, error: messageOf(thrown) }, 'events of the past could not be read');
      }
    }
    if (damaged.length > 0) this.#log.warn({ keys: damaged }, 'events of the past are damaged');
    this.#trimKept();
    this.#state = 'running';
    if (this.#pending.length > 0) this.#plan(EVENTS_DELAY_MS_MAX);
  }

  /** Notes an event and tells the followers. Never fails and never waits. */
  append(event: NewEvent): void {
    if (this.#state === 'closed') return;
    if (this.#pending.length >= EVENTS_PENDING_MAX) {
      this.#dropped += 1;
      return;
    }
    this.#add(event);
    if (this.#state === 'running') this.#plan(EVENTS_DELAY_MS_MAX);
  }

  /** The newest `limit` events (0: all that are kept), oldest first; '' or a volume's name or id. */
  recent(limit: number, volume: string): EventRecord[] {
    const matching = volume === '' ? this.#kept : this.#kept.filter((event) => concerns(event, volume));
    return limit === 0 ? matching.slice() : matching.slice(-limit);
  }

  /** Calls `listener` for each event from now on; returns how to stop. */
  follow(listener: (event: EventRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Resolves when everything appended so far is durable, or has failed to become so. */
  async flush(): Promise<void> {
    await this.#flushes.run(async () => {
      if (this.#timer !== null) this.#clock.clear(this.#timer);
      this.#timer = null;
      while (this.#pending.length > 0 && (await this.#flushBatch())) {
        // One batch after another, until nothing waits or the disk refuses.
      }
    });
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return;
    if (this.#state === 'running') await this.flush();
    this.#state = 'closed';
    if (this.#timer !== null) this.#clock.clear(this.#timer);
    this.#listeners.clear();
  }

  #add(event: NewEvent): void {
    this.#lastId += 1;
    const record: EventRecord = {
      id: this.#lastId,
      atMs: this.#clock.wallMs(),
      ...event,
      // A reference that never was a name may be as long as a request.
      volume: event.volume.slice(0, REFERENCE_LENGTH_MAX),
      message: event.message.slice(0, EVENT_TEXT_LENGTH_MAX),
      actor: event.actor.slice(0, EVENT_TEXT_LENGTH_MAX),
    };
    this.#pending.push(record);
    this.#kept.push(record);
    this.#trimKept();
    for (const listener of this.#listeners) listener(record);
  }

  #plan(delayMs: number): void {
    if (this.#timer !== null) return;
    this.#timer = this.#clock.after(delayMs, () => {
      this.#timer = null;
      void this.flush();
    });
  }

  /** True when the batch is durable. */
  async #flushBatch(): Promise<boolean> {
    const batch = this.#pending.slice(0, EVENTS_BATCH_MAX);
    const key = eventsKey(batch[0].id);
    const old = this.#chunksToDrop(batch.length);
    try {
      await this.#meta.transaction({
        set: [{ key, value: encodeJson(batch) }],
        delete: old.map((chunk) => chunk.key),
      });
    } catch (thrown) {
      // They stay pending. With the next event, or later by itself, they are tried again.
      this.#log.warn({ error: messageOf(thrown), events: this.#pending.length }, 'events could not be stored');
      if (this.#state === 'running') this.#plan(EVENTS_DELAY_MS_MAX * 50);
      return false;
    }
    this.#pending = this.#pending.slice(batch.length);
    this.#chunks = this.#chunks.slice(old.length);
    this.#chunks.push({ key, count: batch.length });
    this.#storedCount += batch.length - old.reduce((sum, chunk) => sum + chunk.count, 0);
    if (this.#dropped > 0) {
      const message = `${this.#dropped} events came faster than they could be stored and were dropped`;
      this.#dropped = 0;
      this.#add({ kind: 'events.dropped', volume: '', volumeId: '', actor: 'daemon', message, level: 'warn' });
    }
    return true;
  }

  /** The oldest chunks without which enough events are still kept. */
  #chunksToDrop(coming: number): Chunk[] {
    const old: Chunk[] = [];
    let rest = this.#storedCount + coming;
    for (const chunk of this.#chunks) {
      if (old.length === EVENTS_CHUNKS_DELETED_MAX || rest - chunk.count < this.#keptMax) break;
      rest -= chunk.count;
      old.push(chunk);
    }
    return old;
  }

  #trimKept(): void {
    // Cut in steps, so that one event does not copy the whole array.
    if (this.#kept.length > this.#keptMax * 1.1) this.#kept = this.#kept.slice(-this.#keptMax);
  }
}

/** Whether an event is about a volume, given by its id or by the name that it had then. */
export function concerns(event: EventRecord, volume: string): boolean {
  return event.volume === volume || event.volumeId === volume;
}

import { BackupError } from '../../backup/backup-error.js';
import { type StreamItem, type StreamProof, StreamDecoder } from '../../backup/stream-decoder.js';
import type { Crc32c, StreamBegin } from '../../backup/stream-format.js';
import type { Caller } from '../caller.js';
import { cancelled, ControlError } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import type { Transfers } from '../transfers.js';
import type { CreateRequest } from '../volume-creator.js';
import { eventOf } from '../volume-event.js';
import { nameOf } from './find-point.js';
import type { RecoverySource } from './stream-keys.js';
import type { Received, StreamTarget } from './stream-target.js';
import type { StreamTargets } from './stream-targets.js';

export interface StreamReceiverDependencies {
  readonly targets: StreamTargets;
  readonly transfers: Transfers;
  readonly events: EventLog;
  readonly crc32c: Crc32c;
}

/**
 * A stream on its way into a volume. What it is for is known when its beginning has come.
 *
 *     reading --> completing --> done
 *        |------------|--------> undone     (abort, a damaged or cut stream, a failed write, a failed commit)
 */
export class StreamReceiver {
  readonly #request: CreateRequest;
  readonly #caller: Caller;
  readonly #dependencies: StreamReceiverDependencies;
  readonly #decoder: StreamDecoder;
  readonly #ended: () => void;
  #state: 'reading' | 'completing' | 'done' | 'undone' = 'reading';
  #target: StreamTarget | null = null;
  #begin: StreamBegin | null = null;
  #proof: StreamProof | null = null;
  /** Until the stream's beginning has come. */
  #recovery: RecoverySource | null;
  /** The write that is being taken; an abort waits for it. */
  #taking: Promise<void> = Promise.resolve();

  /**
   * `request`: the volume to make; of a difference only its name counts. `recovery`: for the keys of a sealed stream; its
   * passphrase is wiped. Throws REFUSED when too many come in already.
   */
  constructor(
    request: CreateRequest,
    recovery: RecoverySource | null,
    caller: Caller,
    dependencies: StreamReceiverDependencies,
  ) {
    this.#request = request;
    this.#recovery = recovery;
    this.#caller = caller;
    this.#dependencies = dependencies;
    this.#decoder = new StreamDecoder(dependencies.crc32c);
    this.#ended = dependencies.transfers.begin();
  }

  /** Takes the next bytes, one call after another. They belong to the receiver. Throws what is wrong with them. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#state !== 'reading') return Promise.reject(cancelled());
    const taking = this.#write(bytes);
    this.#taking = taking.catch(() => undefined);
    return taking;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    try {
      for (const item of this.#decoder.push(bytes)) {
        await this.#take(item);
        // The client may have gone while the disk was slow.
        if (this.#state !== 'reading') throw cancelled();
      }
    } catch (thrown) {
      throw toStreamError(thrown);
    }
  }

  /** No more bytes come. The volume and the snapshot exist when this resolves; otherwise nothing of it is left. */
  async complete(): Promise<Received> {
    if (this.#state !== 'reading') throw cancelled();
    this.#state = 'completing';
    try {
      this.#decoder.finish();
      const target = this.#target as StreamTarget;
      if (!target.prover.isProven(this.#proof)) {
        const message = 'the stream is not what its sender sealed: its end does not prove it; nothing of it was kept';
        throw new ControlError(message, { code: 'DAMAGED', subject: 'stream' });
      }
      await target.writer.flush();
      const received = await target.commit();
      this.#state = 'done';
      this.#note(received);
      return received;
    } catch (thrown) {
      await this.#undo();
      throw toStreamError(thrown);
    } finally {
      this.#ended();
    }
  }

  /** Removes what there is. Fine when it has ended already. */
  async abort(): Promise<void> {
    if (this.#state !== 'reading') return;
    this.#state = 'completing';
    try {
      await this.#taking;
      await this.#undo();
    } finally {
      this.#ended();
    }
  }

  async #take(item: StreamItem): Promise<void> {
    if (item.kind === 'begin') {
      this.#begin = item.begin;
      const recovery = this.#recovery;
      this.#recovery = null;
      this.#target = await this.#dependencies.targets.open(this.#request, item.begin, recovery, this.#caller);
    } else if (item.kind === 'data') await this.#target?.writer.data(item.offsetBytes, item.data);
    else if (item.kind === 'zero') await this.#target?.writer.zero(item.offsetBytes, item.lengthBytes);
    else if (item.kind === 'sealed') await this.#target?.writer.sealed(item.offsetBytes, item.lengthBytes, item.data);
    else this.#proof = item.proof;
  }

  async #undo(): Promise<void> {
    this.#recovery?.passphrase.fill(0);
    await this.#target?.writer.settled();
    await this.#target?.undo();
    this.#state = 'undone';
  }

  #note({ record, snapshot }: Received): void {
    const from = this.#begin?.from ?? null;
    const what = nameOf({ record, snapshot }) + (from === null ? '' : `, on top of ${from.name},`);
    const message = `${what} received from a stream of ${this.#begin?.volume.name ?? ''}`;
    this.#dependencies.events.append({ ...eventOf(record, this.#caller), kind: 'snapshot.received', message });
  }
}

function toStreamError(thrown: unknown): unknown {
  if (!(thrown instanceof BackupError)) return thrown;
  const message = `${thrown.message}; nothing of it was kept`;
  const isDamage = thrown.code === 'CUT' || thrown.code === 'CORRUPT';
  const fault = isDamage
    ? ({ code: 'DAMAGED', subject: 'stream' } as const)
    : ({ code: 'INVALID', field: 'data' } as const);
  return new ControlError(message, fault, { cause: thrown });
}

import { FRAME_DATA_BYTES_MAX } from '../../backup/limits.js';
import { StreamEncoder } from '../../backup/stream-encoder.js';
import type { Crc32c, StreamBegin } from '../../backup/stream-format.js';
import { Operation } from '../../device/block-device.js';
import { submitAndWait } from '../../device/submit-and-wait.js';
import type { ChangedRange } from '../../volume/volume-host.js';
import type { Caller } from '../caller.js';
import { ControlError, refused } from '../control-error.js';
import type { EventLog } from '../event-log.js';
import { IMAGE_READS_AHEAD_MAX } from '../limits.js';
import type { Transfers } from '../transfers.js';
import { eventOf } from '../volume-event.js';
import { findSnapshot, nameOf, type PointSources, type SnapshotPoint } from './find-point.js';
import type { SnapshotDiffs } from './snapshot-diffs.js';
import type { SnapshotReader, SnapshotReaders } from './snapshot-readers.js';

export interface SendRequest {
  /** VOLUME@SNAPSHOT. */
  readonly snapshot: string;
  /** VOLUME@SNAPSHOT that the receiver has; '': everything is sent. */
  readonly from: string;
  /** What is encrypted leaves in the clear. */
  readonly decrypt: boolean;
}

export interface StreamSenderDependencies extends PointSources {
  readonly diffs: SnapshotDiffs;
  readonly readers: SnapshotReaders;
  readonly transfers: Transfers;
  readonly events: EventLog;
  readonly crc32c: Crc32c;
}

/** Turns a snapshot, or what changed up to it, into a stream. */
export class StreamSender {
  readonly #dependencies: StreamSenderDependencies;

  constructor(dependencies: StreamSenderDependencies) {
    this.#dependencies = dependencies;
  }

  /** The bytes of the stream. Ends with an error rather than with an end mark when something cannot be read. */
  async *send(request: SendRequest, caller: Caller): AsyncGenerator<Buffer, void, void> {
    const to = this.#live(request.snapshot);
    const from = request.from === '' ? null : this.#live(request.from);
    this.#check(from, to, request);
    const { transfers, readers, diffs, events, crc32c } = this.#dependencies;
    const difference = diffs.open(request.from, request.snapshot);
    const ended = transfers.begin();
    let reader: SnapshotReader | null = null;
    try {
      reader = await readers.acquire(to.snapshot);
      const what = from === null ? nameOf(to) : `${nameOf(to)} since ${nameOf(from)}`;
      events.append({ ...eventOf(to.record, caller), kind: 'snapshot.sent', message: `${what} is sent` });
      const encoder = new StreamEncoder(crc32c);
      yield encoder.begin(beginOf(from, to));
      // What is not said is zeros when the stream begins with nothing.
      const skipZeros = from === null;
      for await (const piece of readPieces(difference.pages, reader, nameOf(to), skipZeros)) {
        if (piece.data === null) yield encoder.zero(piece.offsetBytes, piece.lengthBytes);
        else yield encoder.data(piece.offsetBytes, piece.data);
      }
      yield encoder.end();
    } finally {
      await reader?.release();
      ended();
    }
  }

  #live(reference: string): SnapshotPoint {
    const point = findSnapshot(this.#dependencies, reference);
    if (point.snapshot.row.phase === 'live') return point;
    throw refused('state', `snapshot ${nameOf(point)} cannot be sent: it is being deleted`);
  }

  #check(from: SnapshotPoint | null, to: SnapshotPoint, { decrypt }: SendRequest): void {
    if (from?.snapshot === to.snapshot) throw refused('unrelated', `${nameOf(to)} does not differ from itself`);
    if (to.snapshot.row.dataKeyNumbers.length === 0 || decrypt) return;
    throw refused(
      'state',
      `volume ${to.record.displayName} is encrypted, and this version cannot send its blocks as they are sealed; ` +
        'with --decrypt they are sent in the clear: keep such a stream where you would keep the data itself',
    );
  }
}

interface Piece {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** null: zeros. */
  readonly data: Uint8Array | null;
}

/** The ranges in order, in pieces that fit a frame; a few are read ahead, no more while the consumer is slow. */
async function* readPieces(
  pages: AsyncGenerator<readonly ChangedRange[], void, void>,
  reader: SnapshotReader,
  name: string,
  skipZeros: boolean,
): AsyncGenerator<Piece, void, void> {
  const ahead: Promise<Piece | ControlError>[] = [];
  const next = async (): Promise<Piece> => {
    const piece = (await ahead.shift()) as Piece | ControlError;
    if (piece instanceof ControlError) throw piece;
    return piece;
  };
  for await (const ranges of pages) {
    for (const range of ranges) {
      if (!range.data && skipZeros) continue;
      for (const piece of cut(range)) {
        ahead.push(range.data ? readPiece(reader, name, piece) : Promise.resolve(piece));
        if (ahead.length >= IMAGE_READS_AHEAD_MAX) yield await next();
      }
    }
  }
  while (ahead.length > 0) yield await next();
}

/** Zeros have no bytes, and need no cutting. */
function* cut({ offsetBytes, lengthBytes, data }: ChangedRange): Generator<Piece, void, void> {
  const step = data ? FRAME_DATA_BYTES_MAX : lengthBytes;
  for (let done = 0; done < lengthBytes; done += step) {
    yield { offsetBytes: offsetBytes + done, lengthBytes: Math.min(step, lengthBytes - done), data: null };
  }
}

/** Resolves to an error instead of rejecting: nobody may be waiting yet. */
async function readPiece({ handle }: SnapshotReader, name: string, piece: Piece): Promise<Piece | ControlError> {
  const { offsetBytes, lengthBytes } = piece;
  const data = new Uint8Array(lengthBytes);
  const request = { operation: Operation.READ, offsetBytes, lengthBytes, flags: 0, data, dataOffset: 0 };
  const fault = await submitAndWait(handle, request);
  if (fault === null) return { ...piece, data };
  const detail = fault.code === 'IO' ? fault.detail : fault.code === 'CLOSED' ? 'it was deleted' : fault.code;
  return new ControlError(`${name} cannot be read at offset ${offsetBytes}: ${detail}`, {
    code: 'DAMAGED',
    subject: name,
  });
}

function beginOf(from: SnapshotPoint | null, { record, snapshot }: SnapshotPoint): StreamBegin {
  const { row } = snapshot;
  return {
    mode: 'plain',
    volume: { id: record.id, name: record.displayName },
    snapshot: { id: row.streamId, name: row.name, createdAtMs: row.createdAtMs },
    from: from === null ? null : { id: from.snapshot.row.streamId, name: from.snapshot.row.name },
    sizeBytes: row.sizeBytes,
    blockBytes: row.blockBytes,
    encrypted: row.encrypted,
  };
}

import type { CallOptions } from '@grpc/grpc-js';
import { assert } from '../base/assert.js';
import { CallWatch, type ClientChannel, type UnaryMethod } from './client-channel.js';
import { IMAGE_MESSAGE_BYTES_MAX, STREAM_IDLE_MS_MAX } from './client-limits.js';
import { UploadStream } from './client-upload.js';
import type { CreateVolumeRequest, KickResponse, Volume } from './generated/control.js';
import type {
  CloneVolumeRequest,
  CreateSnapshotsRequest,
  DeleteSnapshotRequest,
  DiffPage,
  DiffRequest,
  KickSnapshotRequest,
  ListSnapshotsRequest,
  ReceiveMessage,
  ReceiveResponse,
  RenameSnapshotRequest,
  RevertVolumeRequest,
  RevertVolumeResponse,
  Schedule,
  ScheduleList,
  SendRequest,
  SetHeldRequest,
  SetScheduleRequest,
  Snapshot,
  SnapshotList,
  SnapshotsClient,
  StreamBytes,
  UnexportSnapshotRequest,
} from './generated/snapshots.js';

/** The part of the control API that is about snapshots, as promises; see ControlClient. */
export class SnapshotClient {
  readonly #channel: ClientChannel;
  readonly #calls: SnapshotsClient;

  constructor(channel: ClientChannel, calls: SnapshotsClient) {
    this.#channel = channel;
    this.#calls = calls;
  }

  async create(request: CreateSnapshotsRequest): Promise<Snapshot[]> {
    const call: UnaryMethod<CreateSnapshotsRequest, SnapshotList> = (r, m, o, done) =>
      this.#calls.create(r, m, o, done);
    return (await this.#channel.unary(call, request)).snapshots;
  }

  async list(request: ListSnapshotsRequest): Promise<Snapshot[]> {
    const call: UnaryMethod<ListSnapshotsRequest, SnapshotList> = (r, m, o, done) => this.#calls.list(r, m, o, done);
    return (await this.#channel.unary(call, request)).snapshots;
  }

  get(snapshot: string): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.get(r, m, o, done), { snapshot });
  }

  delete(request: DeleteSnapshotRequest): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.delete(r, m, o, done), request);
  }

  rename(request: RenameSnapshotRequest): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.rename(r, m, o, done), request);
  }

  setHeld(request: SetHeldRequest): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.setHeld(r, m, o, done), request);
  }

  export(snapshot: string): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.export(r, m, o, done), { snapshot });
  }

  unexport(request: UnexportSnapshotRequest): Promise<Snapshot> {
    return this.#channel.unary((r, m, o, done) => this.#calls.unexport(r, m, o, done), request);
  }

  /** The addresses of the clients that were dropped. An empty `address` drops all. */
  async kick(request: KickSnapshotRequest): Promise<string[]> {
    const call: UnaryMethod<KickSnapshotRequest, KickResponse> = (r, m, o, done) => this.#calls.kick(r, m, o, done);
    return (await this.#channel.unary(call, request)).addresses;
  }

  revert(request: RevertVolumeRequest): Promise<RevertVolumeResponse> {
    return this.#channel.unary((r, m, o, done) => this.#calls.revert(r, m, o, done), request);
  }

  clone(request: CloneVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#calls.clone(r, m, o, done), request);
  }

  /** The pages of a difference; the first one carries the size and may have no ranges. */
  diff(request: DiffRequest): AsyncGenerator<DiffPage, void, void> {
    const open = () => this.#calls.diff(request, this.#channel.metadata(), NO_DEADLINE);
    return this.#channel.read(open, STREAM_IDLE_MS_MAX);
  }

  /** The bytes of a stream, in order. */
  send(request: SendRequest): AsyncGenerator<StreamBytes, void, void> {
    const open = () => this.#calls.send(request, this.#channel.metadata(), NO_DEADLINE);
    return this.#channel.read(open, STREAM_IDLE_MS_MAX);
  }

  /**
   * `recovery`: a recovery file for the keys of a sealed stream. Aborting the signal does not cut this stream: its user calls
   * `abandon`, which waits for the daemon to clean up.
   */
  receive(create: CreateVolumeRequest, recovery: RecoveryFile | null = null): ReceiveStream {
    const watch = new CallWatch(this.#channel);
    const upload = new UploadStream<ReceiveMessage, ReceiveResponse>(
      (done) => {
        const call = this.#calls.receive(this.#channel.metadata(), NO_DEADLINE, done);
        watch.begin(call, { interruptible: false });
        return call;
      },
      message({
        create,
        ...(recovery === null ? {} : { recovery: recovery.file, recoveryPassphrase: recovery.passphrase }),
      }),
      { watch, translate: (error, of, timeoutMs) => this.#channel.translate(error, of, timeoutMs) },
    );
    return new ReceiveStream(upload);
  }

  setSchedule(request: SetScheduleRequest): Promise<Schedule> {
    return this.#channel.unary((r, m, o, done) => this.#calls.setSchedule(r, m, o, done), request);
  }

  removeSchedule(volume: string): Promise<Schedule> {
    return this.#channel.unary((r, m, o, done) => this.#calls.removeSchedule(r, m, o, done), { volume });
  }

  async listSchedules(): Promise<Schedule[]> {
    const call: UnaryMethod<object, ScheduleList> = (r, m, o, done) => this.#calls.listSchedules(r, m, o, done);
    return (await this.#channel.unary(call, {})).schedules;
  }
}

export interface RecoveryFile {
  readonly file: Buffer;
  readonly passphrase: Buffer;
}

/** A stream on its way into a volume. What it makes exists only if `complete` resolves. */
export class ReceiveStream {
  readonly #upload: UploadStream<ReceiveMessage, ReceiveResponse>;

  constructor(upload: UploadStream<ReceiveMessage, ReceiveResponse>) {
    this.#upload = upload;
  }

  /** Sends the next bytes, of any length. Resolves when flow control lets more go; throws what the daemon says. */
  async write(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; at += IMAGE_MESSAGE_BYTES_MAX) {
      const piece = data.subarray(at, at + IMAGE_MESSAGE_BYTES_MAX);
      await this.#upload.send(message({ data: piece }));
    }
  }

  /** The bytes are at their end: the daemon says whether they were a whole stream. */
  async complete(): Promise<{ readonly volume: Volume; readonly snapshot: Snapshot }> {
    const { volume, snapshot } = await this.#upload.complete(message({ complete: true }));
    assert(volume !== undefined && snapshot !== undefined, 'a daemon says what it has received');
    return { volume, snapshot };
  }

  /** As `UploadStream.abandon`. */
  abandon(): Promise<boolean> {
    return this.#upload.abandon();
  }
}

function message(fields: Partial<ReceiveMessage>): ReceiveMessage {
  return { create: undefined, data: EMPTY, complete: false, recovery: EMPTY, recoveryPassphrase: EMPTY, ...fields };
}

const EMPTY = Buffer.alloc(0);
/** Streams end by themselves, by an idle limit, or by cancelling. */
const NO_DEADLINE: Partial<CallOptions> = {};

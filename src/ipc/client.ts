import { type CallOptions, type ClientOptions, credentials } from '@grpc/grpc-js';
import type { Closable } from '../base/lifecycle.js';
import {
  CallWatch,
  type ChannelOptions,
  ClientChannel,
  GRPC_CHANNEL_OPTIONS,
  type UnaryMethod,
} from './client-channel.js';
import { ImportStream } from './client-import.js';
import { KeyCalls } from './client-keys.js';
import { QosCalls } from './client-qos.js';
import { STREAM_IDLE_MS_MAX } from './client-limits.js';
import { ScrubCalls } from './client-scrub.js';
import {
  type ConfigResponse,
  type CreateStorageClassRequest,
  type CreateVolumeRequest,
  DaemonClient,
  type DeleteStorageClassResponse,
  type DeleteVolumeRequest,
  type DeleteVolumeResponse,
  type Event,
  type EventsRequest,
  type ExpandVolumeRequest,
  type ExportVolumeRequest,
  type ImageChunk,
  type KickRequest,
  type KickResponse,
  type ListStorageClassesRequest,
  type ListStorageClassesResponse,
  type ListVolumesRequest,
  type ListVolumesResponse,
  type NodeStatus,
  type PurgeVolumeRequest,
  type RenameVolumeRequest,
  type RestoreVolumeRequest,
  type StatsRequest,
  type StatsSample,
  type StopResponse,
  type StorageClass,
  type StorageClassReference,
  StorageClassesClient,
  type UnexportVolumeRequest,
  type UpdateVolumeRequest,
  type Volume,
  type VolumeReference,
  VolumesClient,
} from './generated/control.js';
import { KeysClient } from './generated/keys.js';
import { ScrubsClient } from './generated/scrub.js';
import { SnapshotsClient } from './generated/snapshots.js';
import { SnapshotClient } from './snapshot-client.js';

/**
 * The control API of one daemon as promises. Every unary call has a deadline, every failure is a ClientError, and
 * aborting `signal` cancels whatever is under way.
 */
export class ControlClient implements Closable {
  readonly address: string;
  readonly keys: KeyCalls;
  readonly scrubs: ScrubCalls;
  /** Quality of service. */
  readonly qos: QosCalls;
  readonly snapshots: SnapshotClient;
  readonly #options: ChannelOptions;
  readonly #channel: ClientChannel;
  readonly #volumes: VolumesClient;
  readonly #classes: StorageClassesClient;
  readonly #daemon: DaemonClient;

  constructor(options: ChannelOptions) {
    this.address = options.address;
    this.#options = options;
    const tls = options.tls ?? null;
    // Without TLS the token crosses loopback or a unix socket only; the daemon refuses other addresses.
    const channel =
      tls === null
        ? credentials.createInsecure()
        : credentials.createSsl(tls.authority, tls.privateKey, tls.certificate);
    this.#volumes = new VolumesClient(options.address, channel, GRPC_CHANNEL_OPTIONS);
    const shared: ClientOptions = { channelOverride: this.#volumes.getChannel() };
    this.#classes = new StorageClassesClient(options.address, channel, shared);
    this.#daemon = new DaemonClient(options.address, channel, shared);
    this.#channel = new ClientChannel(options, this.#volumes);
    this.scrubs = new ScrubCalls({
      channel: this.#channel,
      scrubs: new ScrubsClient(options.address, channel, shared),
    });
    this.keys = new KeyCalls({ channel: this.#channel, keys: new KeysClient(options.address, channel, shared) });
    this.qos = new QosCalls(options.address, channel, shared, this.#channel);
    this.snapshots = new SnapshotClient(this.#channel, new SnapshotsClient(options.address, channel, shared));
  }

  /** The same daemon without the interruption, for work that must be finished or undone in order. Closed by itself. */
  uninterrupted(): ControlClient {
    return new ControlClient({ ...this.#options, signal: new AbortController().signal });
  }

  createVolume(request: CreateVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.create(r, m, o, done), request);
  }

  async listVolumes(request: ListVolumesRequest): Promise<Volume[]> {
    const call: UnaryMethod<ListVolumesRequest, ListVolumesResponse> = (r, m, o, done) =>
      this.#volumes.list(r, m, o, done);
    return (await this.#channel.unary(call, request)).volumes;
  }

  getVolume(request: VolumeReference): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.get(r, m, o, done), request);
  }

  deleteVolume(request: DeleteVolumeRequest): Promise<DeleteVolumeResponse> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.delete(r, m, o, done), request);
  }

  purgeVolume(request: PurgeVolumeRequest): Promise<DeleteVolumeResponse> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.purge(r, m, o, done), request);
  }

  restoreVolume(request: RestoreVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.restore(r, m, o, done), request);
  }

  expandVolume(request: ExpandVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.expand(r, m, o, done), request);
  }

  renameVolume(request: RenameVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.rename(r, m, o, done), request);
  }

  updateVolume(request: UpdateVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.update(r, m, o, done), request);
  }

  exportVolume(request: ExportVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.export(r, m, o, done), request);
  }

  unexportVolume(request: UnexportVolumeRequest): Promise<Volume> {
    return this.#channel.unary((r, m, o, done) => this.#volumes.unexport(r, m, o, done), request);
  }

  /** The addresses of the clients that were dropped. An empty `address` drops all. */
  async kick(volume: string, address: string): Promise<string[]> {
    const call: UnaryMethod<KickRequest, KickResponse> = (r, m, o, done) => this.#volumes.kick(r, m, o, done);
    return (await this.#channel.unary(call, { volume, address })).addresses;
  }

  stats(request: StatsRequest): AsyncGenerator<StatsSample, void, void> {
    const idleMs = request.intervalMs + STREAM_IDLE_MS_MAX;
    return this.#channel.read(() => this.#volumes.stats(request, this.#channel.metadata(), NO_DEADLINE), idleMs);
  }

  /** The image of a volume: the first chunk tells its size, ranges that no chunk covers are zeros. */
  exportImage(volume: string): AsyncGenerator<ImageChunk, void, void> {
    const open = () => this.#volumes.exportImage({ volume }, this.#channel.metadata(), NO_DEADLINE);
    return this.#channel.read(open, STREAM_IDLE_MS_MAX);
  }

  /** Aborting the signal does not cut this stream: its user calls `abandon`, which waits for the daemon to clean up. */
  importImage(create: CreateVolumeRequest): ImportStream {
    const watch = new CallWatch(this.#channel);
    return new ImportStream(
      (done) => {
        const call = this.#volumes.importImage(this.#channel.metadata(), NO_DEADLINE, done);
        watch.begin(call, { interruptible: false });
        return call;
      },
      create,
      { watch, translate: (error, of, timeoutMs) => this.#channel.translate(error, of, timeoutMs) },
    );
  }

  async listStorageClasses(): Promise<StorageClass[]> {
    const call: UnaryMethod<ListStorageClassesRequest, ListStorageClassesResponse> = (r, m, o, done) =>
      this.#classes.list(r, m, o, done);
    return (await this.#channel.unary(call, {})).classes;
  }

  getStorageClass(name: string): Promise<StorageClass> {
    return this.#channel.unary((r, m, o, done) => this.#classes.get(r, m, o, done), { name });
  }

  createStorageClass(request: CreateStorageClassRequest): Promise<StorageClass> {
    return this.#channel.unary((r, m, o, done) => this.#classes.create(r, m, o, done), request);
  }

  async deleteStorageClass(name: string): Promise<string> {
    const call: UnaryMethod<StorageClassReference, DeleteStorageClassResponse> = (r, m, o, done) =>
      this.#classes.delete(r, m, o, done);
    return (await this.#channel.unary(call, { name })).name;
  }

  status(): Promise<NodeStatus> {
    return this.#channel.unary((r, m, o, done) => this.#daemon.status(r, m, o, done), {});
  }

  config(): Promise<ConfigResponse> {
    return this.#channel.unary((r, m, o, done) => this.#daemon.config(r, m, o, done), {});
  }

  stop(): Promise<StopResponse> {
    return this.#channel.unary((r, m, o, done) => this.#daemon.stop(r, m, o, done), {});
  }

  /** Past events, then (with `follow`) new ones until cancelled; keepalive notices a daemon that vanished. */
  events(request: EventsRequest): AsyncGenerator<Event, void, void> {
    const open = () => this.#daemon.events(request, this.#channel.metadata(), NO_DEADLINE);
    return this.#channel.read(open, request.follow ? 0 : STREAM_IDLE_MS_MAX);
  }

  close(): Promise<void> {
    this.#volumes.close();
    return Promise.resolve();
  }
}

/** Streams end by themselves, by an idle limit, or by cancelling. */
const NO_DEADLINE: Partial<CallOptions> = {};

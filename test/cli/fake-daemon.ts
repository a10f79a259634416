/**
 * The control API over an in-memory model, on a port of its own: what the command line is tested against. It keeps
 * the promises of control.proto that the command line leans on (an import that does not complete leaves nothing).
 */
import {
  type Metadata,
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CreateVolumeRequest,
  DaemonService,
  type DaemonServer,
  type ImageChunk,
  type ImportMessage,
  type NodeStatus,
  type StorageClass,
  StorageClassesService,
  type StorageClassesServer,
  type Volume,
  VolumesService,
  type VolumesServer,
} from '../../src/ipc/generated/control.js';
import { type QosPolicy, type QosServer, QosService, type VolumeQosState } from '../../src/ipc/generated/qos.js';
import { type Scrub, type ScrubsServer, ScrubsService } from '../../src/ipc/generated/scrub.js';
import { type Snapshot, SnapshotsService } from '../../src/ipc/generated/snapshots.js';
import { NO_QOS } from '../../src/model/qos-settings.js';
import { fakeStatus, GOLDEN_EVENTS, GOLDEN_STATS, STORAGE_CLASSES } from './fixtures.js';

const CHUNK_BYTES = 256 * 1024;
export const TOKEN = 'token-of-the-fake-daemon';
export const CREATED_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

interface StoredVolume {
  volume: Volume;
  content: Buffer;
}

export class FakeDaemon {
  readonly folder = mkdtempSync(join(tmpdir(), 'gfs-fake-daemon-'));
  readonly tokenFile = join(this.folder, 'control.token');
  readonly volumes = new Map<string, StoredVolume>();
  readonly classes: StorageClass[] = structuredClone(STORAGE_CLASSES);
  /** Every call with its method's name, in order. */
  readonly calls: { readonly method: string; readonly request: unknown }[] = [];
  readonly policies: QosPolicy[] = [];
  /** By volume id. */
  readonly scrubs = new Map<string, Scrub>();
  readonly snapshots: Snapshot[] = [];
  node: NodeStatus = fakeStatus();
  /** Imported data bytes that really crossed the connection. */
  importedBytes = 0;
  /** Calls of these methods are accepted and never answered. */
  readonly mute = new Set<string>();
  /** Statistics send one sample and then nothing. */
  holdStreams = false;
  address = '';
  readonly #server = new Server({ 'grpc.max_receive_message_length': 8 * 1024 * 1024 });
  readonly #listeners: (() => void)[] = [];

  static async start(): Promise<FakeDaemon> {
    const daemon = new FakeDaemon();
    writeFileSync(daemon.tokenFile, `${TOKEN}\n`, { mode: 0o600 });
    daemon.#server.addService(VolumesService, daemon.#volumesService());
    daemon.#server.addService(StorageClassesService, daemon.#classesService());
    // Of snapshots only what completion asks for: their verbs are tested against a real control plane.
    const snapshots = { list: daemon.#unary('snapshots.list', () => ({ snapshots: daemon.snapshots })) };
    daemon.#server.addService(SnapshotsService, snapshots);
    daemon.#server.addService(QosService, daemon.#qosService());
    daemon.#server.addService(ScrubsService, daemon.#scrubsService());
    daemon.#server.addService(DaemonService, daemon.#daemonService());
    const port = await new Promise<number>((resolve, reject) => {
      daemon.#server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    daemon.address = `127.0.0.1:${String(port)}`;
    return daemon;
  }

  close(): void {
    this.#server.forceShutdown();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Adds a volume as `create` would, and returns it. */
  add(name: string, fields: Partial<Volume> = {}, content?: Buffer): Volume {
    const id = createHash('sha256').update(name).digest('hex').slice(0, 32);
    const sizeBytes = fields.sizeBytes ?? content?.length ?? 1024 ** 3;
    const volume: Volume = {
      id,
      name,
      sizeBytes,
      allocatedBytes: 0,
      blockBytes: 4096,
      storageClass: 'encrypted-storage',
      encrypted: true,
      state: 'available',
      stateReason: '',
      replicas: { current: 1, desired: 3 },
      createdAtMs: CREATED_MS,
      labels: {},
      export: undefined,
      volumeType: 'persistent',
      protected: false,
      retainedAtMs: 0,
      reclaimPolicy: 'Retain',
      dataKeyNumber: 1,
      snapshots: 0,
      origin: '',
      ...fields,
    };
    this.volumes.set(volume.id, { volume, content: content ?? Buffer.alloc(0) });
    this.#changed();
    return volume;
  }

  named(name: string): StoredVolume | undefined {
    return [...this.volumes.values()].find(({ volume }) => volume.name === name);
  }

  methods(): string[] {
    return this.calls.map(({ method }) => method);
  }

  /** Resolves once `condition` holds; looked at after each call and change. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        this.#listeners.push(resolve);
      });
    }
  }

  #record(method: string, request: unknown): void {
    this.calls.push({ method, request });
    this.#changed();
  }

  #changed(): void {
    for (const listener of this.#listeners.splice(0)) listener();
  }

  #unary<Q, R>(method: string, answer: (request: Q) => R) {
    return (call: ServerUnaryCall<Q, R>, done: sendUnaryData<R>): void => {
      this.#record(method, call.request);
      if (this.mute.has(method)) return;
      try {
        this.#authorize(call.metadata);
        done(null, answer(call.request));
      } catch (thrown) {
        done(toStatus(thrown));
      }
    };
  }

  #authorize(metadata: Metadata): void {
    if (metadata.get('authorization')[0] !== `Bearer ${TOKEN}`) {
      throw new FakeFailure(status.UNAUTHENTICATED, 'the bearer token is missing or wrong');
    }
  }

  #find(reference: string, retained: boolean): StoredVolume {
    const all = [...this.volumes.values()].filter(({ volume }) => retained || volume.retainedAtMs === 0);
    const exact = all.find(({ volume }) => volume.name === reference || volume.id === reference);
    const prefixed = all.filter(({ volume }) => reference.length >= 4 && volume.id.startsWith(reference));
    const found = exact ?? (prefixed.length === 1 ? prefixed[0] : undefined);
    if (found === undefined) throw new FakeFailure(status.NOT_FOUND, `there is no volume "${reference}"`);
    return found;
  }

  #create(request: CreateVolumeRequest, content: Buffer): Volume {
    if (this.named(request.name) !== undefined) {
      throw new FakeFailure(status.ALREADY_EXISTS, `a volume named ${request.name} exists; choose another name`);
    }
    if (request.sizeBytes <= 0 || request.sizeBytes % 4096 !== 0) {
      throw new FakeFailure(status.INVALID_ARGUMENT, `size ${String(request.sizeBytes)} is no multiple of 4096`);
    }
    const storageClass = request.storageClass === '' ? 'encrypted-storage' : request.storageClass;
    const policy = this.classes.find(({ name }) => name === storageClass);
    if (policy === undefined) throw new FakeFailure(status.NOT_FOUND, `there is no storage class "${storageClass}"`);
    return this.add(
      request.name,
      {
        sizeBytes: request.sizeBytes,
        blockBytes: request.blockBytes === 0 ? 4096 : request.blockBytes,
        storageClass,
        encrypted: policy.encryption,
        reclaimPolicy: policy.reclaimPolicy,
        volumeType: request.volumeType === '' ? 'persistent' : request.volumeType,
        replicas: { current: 1, desired: request.replicas === 0 ? policy.replication : request.replicas },
        labels: request.labels,
      },
      content,
    );
  }

  /** It does as it is told; what makes sense is for the real one to say. */
  #scrubsService(): ScrubsServer {
    const scrubOf = ({ id, name }: Volume): Scrub =>
      this.scrubs.get(id) ?? {
        ...{ volumeId: id, name, state: 'idle', stateReason: '', run: undefined, last: undefined },
        ...{ badBlocks: 0, bad: [], moreBadBlocks: 0, nextAtMs: 0 },
      };
    const list = ({ volume: reference }: { volume: string }): { scrubs: Scrub[] } => {
      if (reference === '') return { scrubs: [...this.volumes.values()].map(({ volume }) => scrubOf(volume)) };
      return { scrubs: [scrubOf(this.#find(reference, true).volume)] };
    };
    return {
      begin: this.#unary('scrubBegin', list),
      cancel: this.#unary('scrubCancel', list),
      status: this.#unary('scrubStatus', list),
    };
  }

  #qosService(): QosServer {
    const state = ({ id, name, qos }: Volume): VolumeQosState => ({
      ...{ id, name, qos, waiting: 3, throttledSeconds: 1.25, throttledOperations: 7 },
    });
    return {
      set: this.#unary('qosSet', ({ volume: reference, policy, change }) => {
        const { volume } = this.#find(reference, false);
        const from = this.policies.find(({ name }) => name === policy)?.settings ?? volume.qos?.settings ?? NO_QOS;
        const given = Object.fromEntries(Object.entries(change ?? {}).filter(([, value]) => value !== undefined));
        volume.qos = { policy, settings: { ...from, ...given } };
        return state(volume);
      }),
      get: this.#unary('qosGet', ({ volume }) => state(this.#find(volume, false).volume)),
      clear: this.#unary('qosClear', ({ volume: reference }) => {
        const { volume } = this.#find(reference, false);
        volume.qos = undefined;
        return state(volume);
      }),
      createPolicy: this.#unary('createPolicy', ({ document }) => {
        const { name, iops } = JSON.parse(document) as { name: string; iops: number };
        const policy = { name, settings: { ...NO_QOS, iops }, createdAtMs: CREATED_MS };
        this.policies.push(policy);
        return policy;
      }),
      listPolicies: this.#unary('listPolicies', () => ({ policies: this.policies })),
      getPolicy: this.#unary('getPolicy', ({ name }) => {
        const found = this.policies.find((policy) => policy.name === name);
        if (found === undefined) throw new FakeFailure(status.NOT_FOUND, `there is no policy "${name}"`);
        return found;
      }),
      deletePolicy: this.#unary('deletePolicy', ({ name }) => {
        this.policies.splice(0);
        return { name };
      }),
    };
  }

  #volumesService(): VolumesServer {
    return {
      create: this.#unary('create', (request) => this.#create(request, Buffer.alloc(0))),
      list: this.#unary('list', ({ labels, retained }) => ({
        volumes: [...this.volumes.values()]
          .map(({ volume }) => volume)
          .filter((volume) => volume.retainedAtMs > 0 === retained)
          .filter((volume) => Object.entries(labels).every(([key, value]) => volume.labels[key] === value)),
      })),
      get: this.#unary('get', ({ volume, retained }) => this.#find(volume, retained).volume),
      delete: this.#unary('delete', ({ volume: reference, force }) => {
        const { volume } = this.#find(reference, false);
        if (volume.protected) throw new FakeFailure(status.FAILED_PRECONDITION, `${volume.name} is protected`);
        if (!force && (volume.export?.connections.length ?? 0) > 0) {
          throw new FakeFailure(status.FAILED_PRECONDITION, `${volume.name} has connections; add --force`);
        }
        if (!force && volume.reclaimPolicy === 'Retain') {
          volume.retainedAtMs = CREATED_MS;
          volume.state = 'retained';
          return {
            id: volume.id,
            name: volume.name,
            outcome: 'retained',
            detail: `the data of ${volume.name} is kept`,
          };
        }
        this.volumes.delete(volume.id);
        this.#changed();
        return { id: volume.id, name: volume.name, outcome: force ? 'purged' : 'deleted', detail: '' };
      }),
      purge: this.#unary('purge', ({ volume: reference }) => {
        const { volume } = this.#find(reference, true);
        this.volumes.delete(volume.id);
        return { id: volume.id, name: volume.name, outcome: 'purged', detail: '' };
      }),
      restore: this.#unary('restore', ({ volume: reference, name }) => {
        const { volume } = this.#find(reference, true);
        Object.assign(volume, { retainedAtMs: 0, state: 'available', name: name === '' ? volume.name : name });
        return volume;
      }),
      expand: this.#unary('expand', ({ volume: reference, sizeBytes, relative }) => {
        const { volume } = this.#find(reference, false);
        const wanted = relative ? volume.sizeBytes + sizeBytes : sizeBytes;
        if (wanted < volume.sizeBytes) {
          throw new FakeFailure(status.FAILED_PRECONDITION, 'a volume cannot shrink; clone it into a smaller one');
        }
        volume.sizeBytes = wanted;
        return volume;
      }),
      rename: this.#unary('rename', ({ volume: reference, name }) => {
        const { volume } = this.#find(reference, false);
        volume.name = name;
        return volume;
      }),
      update: this.#unary('update', ({ volume: reference, setLabels, removeLabels, protected: wanted }) => {
        const { volume } = this.#find(reference, false);
        const labels = { ...volume.labels, ...setLabels };
        volume.labels = Object.fromEntries(Object.entries(labels).filter(([key]) => !removeLabels.includes(key)));
        volume.protected = wanted ?? volume.protected;
        return volume;
      }),
      export: this.#unary('export', ({ volume: reference, readOnly }) => {
        const { volume } = this.#find(reference, false);
        volume.export = {
          name: volume.name,
          uri: `nbd://127.0.0.1:10809/${volume.name}`,
          socketUri: `nbd+unix:///${volume.name}?socket=${this.folder}/nbd.sock`,
          readOnly,
          connections: [],
        };
        return volume;
      }),
      unexport: this.#unary('unexport', ({ volume: reference }) => {
        const { volume } = this.#find(reference, false);
        volume.export = undefined;
        return volume;
      }),
      kick: this.#unary('kick', ({ volume: reference, address }) => {
        const connections = this.#find(reference, false).volume.export?.connections ?? [];
        const hit = connections.filter((connection) => address === '' || connection.address === address);
        return { addresses: hit.map((connection) => connection.address) };
      }),
      stats: (call) => {
        this.#record('stats', call.request);
        const { samples, intervalMs } = call.request;
        const count = intervalMs === 0 || this.holdStreams ? 1 : samples === 0 ? 1000 : samples;
        for (let sample = 0; sample < count; sample++) call.write(GOLDEN_STATS);
        if (!this.holdStreams) call.end();
      },
      importImage: (call, done) => this.#import(call, done),
      exportImage: (call) => this.#exportImage(call),
    };
  }

  #import(call: ServerReadableStream<ImportMessage, Volume>, done: sendUnaryData<Volume>): void {
    this.#record('importImage', undefined);
    let created: StoredVolume | undefined;
    let complete = false;
    const remove = (): void => {
      if (created !== undefined) this.volumes.delete(created.volume.id);
      this.#changed();
    };
    call.on('data', (message: ImportMessage) => {
      try {
        if (message.create !== undefined) {
          const { id } = this.#create(message.create, Buffer.alloc(message.create.sizeBytes));
          created = this.volumes.get(id);
        } else if (message.complete) complete = true;
        else {
          this.importedBytes += message.data.length;
          created?.content.set(message.data, message.offsetBytes);
          if (created !== undefined) created.volume.allocatedBytes += message.data.length;
        }
        this.#changed();
      } catch (thrown) {
        created = undefined;
        done(toStatus(thrown));
      }
    });
    call.on('end', () => {
      if (complete && created !== undefined) done(null, created.volume);
      else {
        // As a daemon does: the answer comes after the volume is gone.
        this.#record('importAbandoned', undefined);
        remove();
        done({ code: status.ABORTED, details: 'the import ended early' });
      }
    });
    call.on('cancelled', () => {
      if (!complete) remove();
    });
  }

  #exportImage(call: ServerWritableStream<{ volume: string }, ImageChunk>): void {
    this.#record('exportImage', call.request);
    const { content } = this.#find(call.request.volume, true);
    call.write({ offsetBytes: 0, data: Buffer.alloc(0), sizeBytes: content.length });
    for (let offset = 0; offset < content.length; offset += CHUNK_BYTES) {
      const data = content.subarray(offset, offset + CHUNK_BYTES);
      if (data.some((byte) => byte !== 0)) call.write({ offsetBytes: offset, data, sizeBytes: 0 });
    }
    if (this.mute.has('exportImage')) return;
    if (this.mute.has('exportDamage')) call.emit('error', { code: status.DATA_LOSS, details: 'block 7 is damaged' });
    else call.end();
  }

  #classesService(): StorageClassesServer {
    const find = (name: string): StorageClass => {
      const found = this.classes.find((of) => of.name === name);
      if (found === undefined) throw new FakeFailure(status.NOT_FOUND, `there is no storage class "${name}"`);
      return found;
    };
    return {
      list: this.#unary('classes.list', () => ({ classes: this.classes })),
      get: this.#unary('classes.get', ({ name }) => find(name)),
      create: this.#unary('classes.create', ({ document, fileName }) => {
        if (!document.includes('name')) throw new FakeFailure(status.INVALID_ARGUMENT, `${fileName}:\n  name: missing`);
        return { ...STORAGE_CLASSES[0], name: 'made' };
      }),
      delete: this.#unary('classes.delete', ({ name }) => ({ name: find(name).name })),
    };
  }

  #daemonService(): DaemonServer {
    return {
      status: this.#unary('status', () => this.node),
      config: this.#unary('config', () => ({
        values: [
          { key: 'daemon.ipc_address', value: this.address, source: 'flag', origin: '--ipc-address', note: '' },
          { key: 'nbd.address', value: '127.0.0.1:10809', source: 'default', origin: '', note: '' },
        ],
      })),
      stop: this.#unary('stop', () => ({ pid: this.node.pid })),
      events: (call) => {
        this.#record('events', call.request);
        const { limit, follow } = call.request;
        for (const event of limit === 0 ? GOLDEN_EVENTS : GOLDEN_EVENTS.slice(-limit)) call.write(event);
        if (!follow) call.end();
        this.#changed();
      },
    };
  }
}

class FakeFailure extends Error {
  readonly code: status;

  constructor(code: status, details: string) {
    super(details);
    this.code = code;
  }
}

function toStatus(thrown: unknown): { code: status; details: string } {
  if (thrown instanceof FakeFailure) return { code: thrown.code, details: thrown.message };
  return { code: status.INTERNAL, details: String(thrown) };
}

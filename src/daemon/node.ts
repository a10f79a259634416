import { isLoopback, joinAddress } from '../base/address.js';
import type { Clock, Random } from '../base/clock.js';
import { errnoOf, messageOf } from '../base/errors.js';
import { CloseStack, type Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import { ControlPlane } from '../control/control-plane.js';
import { DataKeyCopies } from '../control/data-key-copies.js';
import { DataKeyVault } from '../crypto/data-key-vault.js';
import { fileModeOf } from '../crypto/secret-file.js';
import { LATENCY_BOUNDS_MS } from '../device/device-statistics.js';
import type { BlockKeys, Checksums } from '../io/block-keys.js';
import { duplicateDescriptor } from '../io/descriptors.js';
import type { Files } from '../io/files.js';
import { SpaceReserve } from '../io/space-reserve.js';
import { ControlServer } from '../ipc/server/control-server.js';
import type { ConfigValue } from '../ipc/generated/control.js';
import { ServerCertificates } from '../ipc/server/server-credentials.js';
import { LmdbMetaStore } from '../meta/lmdb-meta-store.js';
import type { MetaStore } from '../meta/meta-store.js';
import { MetricsRegistry } from '../metrics/metrics-registry.js';
import { MetricsServer } from '../metrics/metrics-server.js';
import { NbdServer } from '../nbd/server.js';
import { probeStoredMap } from '../store/open-store.js';
import { openVolumeHost } from '../volume/open-volume-host.js';
import type { VolumeManager } from '../volume/volume-manager.js';
import { DaemonError } from './daemon-error.js';
import { NbdEvents } from './nbd-events.js';
import { NbdExports } from './nbd-exports.js';
import { nodeMeasures, OPERATION_NAMES } from './node-measures.js';
import type { Endpoint, NodeAddresses, NodeSettings } from './node-settings.js';
import { nodeStatus } from './node-status.js';
import { ReservedMetaStore } from './reserved-meta-store.js';
import { StorageFolder } from './storage-folder.js';
import { readIpcTls, readNbdTls } from './tls-files.js';

/** Disk space held back for starting and deleting on a full disk: metadata takes far less. */
const RESERVE_BYTES = 16 * 1024 * 1024;

export interface NodeDependencies {
  readonly files: Files;
  readonly keys: BlockKeys;
  readonly checksums: Checksums;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly version: string;
  /** What `gfs daemon config` shows. */
  readonly configValues: () => ConfigValue[];
  /** Asked to stop over the control API. */
  readonly stopWanted: (reason: string) => void;
}

/** starting: not yet serving. ready: serving. stopping: draining. Moves in `#become` only. */
type NodeState = 'starting' | 'ready' | 'stopping';

/**
 * One running node: the only place that wires rooms. Parts are started in the order in which they need each other, and
 * stopped in reverse: no new requests first, the store's checkpoint last.
 */
export class Node implements Closable {
  readonly #settings: NodeSettings;
  readonly #io: NodeDependencies;
  readonly #closing = new CloseStack();
  readonly #startedAtMs: number;
  #state: NodeState = 'starting';
  #folder: StorageFolder | null = null;
  #host: VolumeManager | null = null;
  #plane: ControlPlane | null = null;
  #nbd: NbdServer | null = null;
  #vault: DataKeyVault | null = null;
  #ipc: ControlServer | null = null;
  #metrics: MetricsServer | null = null;
  #ipcCertificates: ServerCertificates | null = null;

  private constructor(settings: NodeSettings, dependencies: NodeDependencies) {
    this.#settings = settings;
    this.#io = dependencies;
    this.#startedAtMs = dependencies.clock.wallMs();
  }

  /** Starts everything, or nothing. Throws DaemonError in one line that names the thing and what to do. */
  static async start(settings: NodeSettings, dependencies: NodeDependencies): Promise<Node> {
    const node = new Node(settings, dependencies);
    try {
      await node.#start();
      return node;
    } catch (thrown) {
      await node.#closing.close().catch((failure: unknown) => {
        dependencies.log.warn({ error: messageOf(failure) }, 'daemon: cleaning up after a failed start failed');
      });
      throw thrown;
    }
  }

  get storagePath(): string {
    return this.#settings.storagePath;
  }

  get tokenFile(): string {
    return this.#folder?.tokenFile ?? '';
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  get addresses(): NodeAddresses {
    const tcp = this.#nbd?.tcpAddresses[0];
    return {
      ipc: this.#ipc?.address ?? '',
      nbd: tcp === undefined ? '' : joinAddress(tcp.host, tcp.port),
      nbdSocket: this.#nbd?.unixPaths[0] ?? '',
      metrics: this.#metrics?.address ?? '',
    };
  }

  async #start(): Promise<void> {
    const { files, clock, random, log, keys, checksums } = this.#io;
    const settings = this.#settings;
    this.#refuseOpenNbd();
    // 1. The folder is ours before anything in it is touched.
    const folder = this.#closing.push(await StorageFolder.open(settings.storagePath, { files, clock, random }));
    this.#folder = folder;
    const reserve = new SpaceReserve(
      { path: folder.reserveFile, bytes: RESERVE_BYTES, purpose: 'starting and deleting' },
      { files, log },
    );
    // Sockets, the token and metadata all want a little room at start.
    const makeRoom = async (): Promise<void> => {
      const { freeBytes } = await files.space(settings.storagePath);
      if (freeBytes < RESERVE_BYTES / 2) await reserve.giveUp();
    };
    await makeRoom();
    const token = await folder.writeToken(reserve);
    // 2. What is known of volumes. The map is looked at meanwhile: each look is a process, and starting one takes time.
    const mapProbe = probeStoredMap(settings.storagePath, clock);
    mapProbe.catch(() => undefined); // told where it is awaited, unless something else fails before
    const lmdb = await this.#naming(folder.metaPath, () => LmdbMetaStore.open({ path: folder.metaPath }, { clock }));
    const meta = this.#closing.push(new ReservedMetaStore(lmdb, reserve));
    // Its files may be new, and LMDB does not sync the folder.
    await files.syncDirectory(folder.metaPath);
    for (const damage of lmdb.damage) log.error({ damage }, `daemon: metadata: ${damage}`);
    // 3. Keys: a provider that cannot be used locks encrypted volumes and nothing else.
    this.#vault = this.#closing.push(await this.#openVault(folder, meta));
    // 4. The store: recovery happens here.
    const host = await this.#naming(settings.storagePath, () =>
      openVolumeHost(
        {
          storagePath: settings.storagePath,
          nodeId: folder.nodeIdBytes,
          segmentBytes: settings.segmentBytes,
          journalReplayBytesMax: settings.journalReplayBytesMax,
          checkpointIntervalMs: settings.checkpointIntervalMs,
          mapCacheBytes: settings.mapCacheBytes,
          journalCacheBytes: settings.journalCacheBytes,
          capacityBytes: settings.capacityBytes === 0 ? Number.POSITIVE_INFINITY : settings.capacityBytes,
        },
        { files, keys, checksums, clock, random, log, mapProbe },
      ),
    );
    this.#host = this.#closing.push(host);
    // What was free is the store's own reserves again.
    await makeRoom();
    // 5. Volumes are reconciled and opened before anyone may ask for them.
    const exports = new NbdExports();
    const plane = new ControlPlane(
      {
        nodeId: folder.nodeId,
        blockBytesDefault: settings.blockBytes,
        scrubs: settings.scrubs,
        timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      },
      {
        ...{ meta, host, vault: this.#vault, exports, clock, random, log },
        isZero: checksums.isZero.bind(checksums),
        crc32c: checksums.crc32c.bind(checksums),
      },
    );
    this.#plane = this.#closing.push(plane);
    await this.#serveNbd(exports, plane);
    await plane.start();
    await this.#listenNbd();
    // 6. Whoever steers it comes last.
    await this.#serveMetrics(host, plane);
    await this.#serveIpc(plane, token);
    await reserve.hold();
    this.#become('ready');
  }

  #become(state: NodeState): void {
    this.#state = state;
  }

  /** Turns what a part throws at start into one line with its subject. */
  async #naming<T>(subject: string, start: () => Promise<T>): Promise<T> {
    try {
      return await start();
    } catch (thrown) {
      if (thrown instanceof DaemonError) throw thrown;
      const reason = messageOf(thrown);
      throw new DaemonError(`${subject}: ${reason}`, { code: 'START', subject }, { cause: thrown });
    }
  }

  async #listening<T>(what: string, endpoint: Endpoint, option: string, start: () => Promise<T>): Promise<T> {
    try {
      return await start();
    } catch (thrown) {
      const address = `${endpoint.host}:${endpoint.port}`;
      // The system's own word, and that of the rooms that listen.
      const inUse = ['EADDRINUSE', 'ADDRESS_IN_USE'].includes(errnoOf(thrown));
      const reason = inUse ? `the address is in use; stop who uses it or give ${option}` : messageOf(thrown);
      throw new DaemonError(
        `${what} cannot listen on ${address}: ${reason}`,
        { code: 'START', subject: address },
        { cause: thrown },
      );
    }
  }

  #refuseOpenNbd(): void {
    const { nbd, nbdTls, insecureNbd } = this.#settings;
    if (nbd === null || isLoopback(nbd.host) || insecureNbd || nbdTls !== null) return;
    throw new DaemonError(
      `NBD on ${nbd.host}:${nbd.port} would be open to the network: give --nbd-tls-cert and --nbd-tls-key, ` +
        'a loopback address, or --insecure-nbd if the network is trusted',
      { code: 'START', subject: 'nbd' },
    );
  }

  async #openVault(folder: StorageFolder, meta: MetaStore): Promise<DataKeyVault> {
    const { files, clock, random, log, environment } = this.#io;
    const vault = await DataKeyVault.open(
      { keysPath: folder.keysPath, provider: this.#settings.keyProvider, metaCopies: new DataKeyCopies(meta) },
      { files, random, clock, environment, modeOf: fileModeOf },
    );
    for (const warning of vault.warnings) log.warn({}, `daemon: keys: ${warning}`);
    if (!vault.state.usable) {
      log.error(
        { error: vault.state.error.message },
        'daemon: the key provider cannot be used; encrypted volumes are locked',
      );
    }
    return vault;
  }

  async #serveNbd(exports: NbdExports, plane: ControlPlane): Promise<void> {
    const { clock, log } = this.#io;
    const { nbdTls, nbdBusyPoll: busyPoll } = this.#settings;
    const options = nbdTls === null ? { busyPoll } : { busyPoll, tls: await readNbdTls(nbdTls) };
    const nbd = new NbdServer(options, {
      exports: exports.directory,
      clock,
      events: new NbdEvents({ events: plane.events, log }),
      duplicateDescriptor,
    });
    exports.attach(nbd, nbdTls !== null);
    this.#nbd = nbd;
    this.#closing.push(nbd);
  }

  async #listenNbd(): Promise<void> {
    const { nbd, nbdSocket, nbdTls } = this.#settings;
    const server = this.#nbd;
    if (server === null) return;
    await this.#naming(nbdSocket, () => server.listenUnix(nbdSocket));
    if (nbd === null) return;
    const mode = nbdTls === null ? 'none' : 'required';
    await this.#listening('NBD', nbd, '--nbd-address', () => server.listenTcp(nbd.host, nbd.port, mode));
  }

  async #serveMetrics(host: VolumeManager, plane: ControlPlane): Promise<void> {
    const { metrics } = this.#settings;
    if (metrics === null) return;
    const registry = new MetricsRegistry(
      { operationNames: OPERATION_NAMES, latencyBoundsMs: LATENCY_BOUNDS_MS, version: this.#io.version },
      nodeMeasures(host, plane),
    );
    const health = () => {
      const report = host.report();
      const ready = this.#state === 'ready' && report.state === 'ready';
      return { healthy: ready, reason: ready ? 'ready' : report.stateReason || this.#state };
    };
    const server = await this.#listening('metrics', metrics, '--metrics-address', () =>
      MetricsServer.listen(metrics, { registry, health }),
    );
    this.#metrics = this.#closing.push(server);
  }

  async #serveIpc(plane: ControlPlane, token: string): Promise<void> {
    const { clock, log, pid } = this.#io;
    const { ipc, ipcTls } = this.#settings;
    if (ipcTls !== null) this.#ipcCertificates = new ServerCertificates(await readIpcTls(ipcTls));
    const server = await this.#listening('the control API', ipc, '--ipc-address', () =>
      ControlServer.listen(
        { ...ipc, token },
        {
          plane,
          node: {
            pid,
            status: () => this.#status(),
            config: () => this.#io.configValues(),
            stop: (caller) => {
              this.#io.stopWanted(`asked by ${caller.actor}`);
            },
          },
          certificates: this.#ipcCertificates,
          clock,
          log,
        },
      ),
    );
    this.#ipc = this.#closing.push(server);
  }

  #status(): ReturnType<typeof nodeStatus> {
    const host = this.#host;
    const plane = this.#plane;
    if (host === null || plane === null || this.#folder === null) {
      throw new DaemonError('the node is not up', { code: 'START', subject: 'node' });
    }
    return nodeStatus({
      nodeId: this.#folder.nodeId,
      version: this.#io.version,
      pid: this.#io.pid,
      startedAtMs: this.#startedAtMs,
      state: this.#state,
      storagePath: this.#settings.storagePath,
      addresses: this.addresses,
      blockBytes: this.#settings.blockBytes,
      keyProvider: this.#vault?.describe() ?? '',
      report: host.report(),
      counts: plane.counts(),
      problems: plane.problems(),
    });
  }

  /** Reads the TLS files again; new connections use them. Throws when they cannot be used, and changes nothing then. */
  async reloadTls(): Promise<void> {
    const { nbdTls, ipcTls } = this.#settings;
    if (nbdTls !== null) this.#nbd?.reloadTls(await readNbdTls(nbdTls));
    if (ipcTls !== null) this.#ipcCertificates?.replace(await readIpcTls(ipcTls));
  }

  /** Accepts no more, lets requests in flight finish, writes a checkpoint and lets go of everything. Idempotent. */
  async close(): Promise<void> {
    this.#become('stopping');
    await this.#nbd?.drain();
    await this.#closing.close();
  }
}

import type { Clock, Random } from '../base/clock.js';
import { CloseStack, type Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import type { KeyVault } from '../crypto/data-key-vault.js';
import type { MetaStore } from '../meta/meta-store.js';
import type { VolumeHost } from '../volume/volume-host.js';
import type { Crc32c } from '../backup/stream-format.js';
import type { Caller } from './caller.js';
import { DataKeyCopies } from './data-key-copies.js';
import { DataKeys } from './data-keys.js';
import { EventLog, type EventRecord } from './event-log.js';
import { type EventQuery, streamEvents } from './event-stream.js';
import type { Exports } from './exports.js';
import { MasterKeys } from './master-keys.js';
import { startVolumes } from './node-start.js';
import type { Problem } from './problem.js';
import { QosPolicies } from './qos-policies.js';
import { QualityOfService } from './quality-of-service.js';
import { Resealing } from './resealing.js';
import { Retries } from './retries.js';
import { Scrubs, type ScrubsOptions } from './scrubs.js';
import { type Sample, sampleStats, type StatsQuery } from './stats-sampler.js';
import { SnapshotKeys } from './snapshots/snapshot-keys.js';
import type { SnapshotDiffs } from './snapshots/snapshot-diffs.js';
import { type SnapshotParts, snapshotParts } from './snapshots/snapshot-parts.js';
import type { SnapshotSchedules } from './snapshots/snapshot-schedules.js';
import { Snapshots } from './snapshots/snapshots.js';
import type { RecoverySource } from './snapshots/stream-keys.js';
import { StreamReceiver, type StreamReceiverDependencies } from './snapshots/stream-receiver.js';
import { StreamSender } from './snapshots/stream-sender.js';
import { StreamTargets } from './snapshots/stream-targets.js';
import { VolumeCloner } from './snapshots/volume-cloner.js';
import { VolumeReverter } from './snapshots/volume-reverter.js';
import { SpaceWatch } from './space-watch.js';
import { StorageClasses } from './storage-classes.js';
import { Transfers } from './transfers.js';
import { VolumeChanger } from './volume-changer.js';
import { type CreateRequest, VolumeCreator } from './volume-creator.js';
import { VolumeEncryption } from './volume-encryption.js';
import { retrySubject, VolumeOpener } from './volume-opener.js';
import type { VolumeRecord } from './volume-record.js';
import { VolumeRemover } from './volume-remover.js';
import { VolumeTable } from './volume-table.js';
import { Volumes } from './volumes.js';

export interface ControlPlaneOptions {
  /** UUID of the node. */
  readonly nodeId: string;
  /** Block size of volumes that are created without naming one. */
  readonly blockBytesDefault: number;
  readonly eventsKeptMax?: number;
  readonly scrubs: ScrubsOptions;
  /** Zone of schedules that name none, as IANA calls it; UTC when absent. */
  readonly timeZone?: string;
}

export interface ControlPlaneDependencies {
  readonly meta: MetaStore;
  readonly host: VolumeHost;
  readonly vault: KeyVault;
  readonly exports: Exports;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Whether bytes [offset, offset + length) are all zero. */
  readonly isZero: (bytes: Uint8Array, offset: number, length: number) => boolean;
  readonly crc32c: Crc32c;
}

export interface ControlCounts {
  readonly volumes: number;
  readonly retainedVolumes: number;
  readonly exports: number;
  readonly connections: number;
  /** Sum of the sizes of all volumes, retained ones included. */
  readonly provisionedBytes: number;
  readonly snapshots: number;
}

/** The control plane of one node: its parts, wired, with one start and one end. */
export class ControlPlane implements Closable {
  readonly classes: StorageClasses;
  readonly volumes: Volumes;
  readonly encryption: VolumeEncryption;
  readonly resealing: Resealing;
  readonly masterKeys: MasterKeys;
  readonly qos: QualityOfService;
  readonly events: EventLog;
  readonly scrubs: Scrubs;
  readonly snapshots: Snapshots;
  readonly schedules: SnapshotSchedules;
  readonly diffs: SnapshotDiffs;
  readonly sender: StreamSender;
  readonly #dependencies: ControlPlaneDependencies;
  readonly #snapshotParts: SnapshotParts;
  readonly #receiverDependencies: StreamReceiverDependencies;
  readonly #table: VolumeTable;
  readonly #dataKeys: DataKeys;
  readonly #opener: VolumeOpener;
  readonly #spaceWatch: SpaceWatch;
  readonly #remover: VolumeRemover;
  readonly #retries: Retries;
  readonly #closing = new CloseStack();
  readonly #startedMs: number;
  #findings: readonly Problem[] = [];

  constructor(options: ControlPlaneOptions, dependencies: ControlPlaneDependencies) {
    this.#dependencies = dependencies;
    const { meta, host, vault, exports, clock, random, log, isZero, crc32c } = dependencies;
    this.#startedMs = clock.monotonicMs();
    const events = new EventLog(options.eventsKeptMax === undefined ? {} : { keptMax: options.eventsKeptMax }, {
      meta,
      clock,
      log,
    });
    const retries = new Retries({ clock, log });
    const transfers = new Transfers();
    const table = new VolumeTable({ meta, log });
    const dataKeys = new DataKeys({ meta, vault, log });
    const policies: QosPolicies = new QosPolicies({
      ...{ meta, events, clock, log },
      classesOf: (policy) => this.classes.namesWithPolicy(policy),
    });
    const classes = new StorageClasses({ meta, table, policies, events, clock, log });
    const base = { meta, host, table, dataKeys, exports, retries, events, clock, random, log };
    const parts = snapshotParts({ timeZoneDefault: options.timeZone ?? 'UTC' }, base);
    const { references, diffs, snapshots } = parts;
    const opener = new VolumeOpener({ ...base, diffs });
    const remover = new VolumeRemover({ ...base, ...parts, classes, opener });
    const changer = new VolumeChanger({ table, opener, exports, events });
    const creator = new VolumeCreator(
      { blockBytesDefault: options.blockBytesDefault },
      { ...base, references, snapshots, classes, policies },
    );
    const cloner = new VolumeCloner({ ...base, ...parts, remover: parts.snapshotRemover, creator, opener });
    const reverter = new VolumeReverter({ ...base, ...parts, opener });
    this.#spaceWatch = new SpaceWatch({ host, events, clock, log });
    this.events = events;
    this.classes = classes;
    this.qos = new QualityOfService({ table, policies, events });
    this.volumes = new Volumes({
      ...base,
      creator,
      changer,
      remover,
      cloner,
      reverter,
      opener,
      transfers,
      snapshots: parts.service,
      isZero,
    });
    const snapshotKeys = new SnapshotKeys(parts);
    this.encryption = new VolumeEncryption({
      ...{ ...base, snapshots, snapshotKeys },
      changed: (volumeId) => {
        this.resealing.changed(volumeId);
      },
    });
    this.resealing = new Resealing({ ...base, snapshots, snapshotKeys, encryption: this.encryption });
    this.masterKeys = new MasterKeys(
      { nodeId: options.nodeId },
      {
        ...{ ...base, vault, copies: new DataKeyCopies(meta) },
        resealing: (volumeId) => this.resealing.viewOf(volumeId),
      },
    );
    this.scrubs = new Scrubs(options.scrubs, { meta, table, host, snapshots, events, clock, log });
    this.snapshots = new Snapshots({ ...base, ...parts, remover: parts.snapshotRemover });
    this.schedules = parts.schedules;
    this.diffs = diffs;
    this.sender = new StreamSender({ nodeId: options.nodeId }, { ...base, ...parts, vault, transfers, crc32c });
    const targets = new StreamTargets({ ...base, references, snapshots, creator, opener, crc32c });
    this.#receiverDependencies = { targets, transfers, events, crc32c };
    this.#snapshotParts = parts;
    this.#table = table;
    this.#dataKeys = dataKeys;
    this.#opener = opener;
    this.#remover = remover;
    this.#retries = retries;
  }

  /** Mends what the last run left, and opens the volumes. Throws only when the MetaStore itself cannot be used. */
  async start(): Promise<void> {
    const { meta, host, log } = this.#dependencies;
    this.#closing.push(this.events);
    await this.events.start();
    await this.qos.policies.load();
    await this.classes.load();
    this.#closing.push(this.#retries);
    this.#closing.push(this.volumes);
    this.#closing.push(this.#snapshotParts.snapshotRemover);
    this.#closing.push(this.schedules);
    this.#closing.push(this.#spaceWatch);
    this.#findings = await startVolumes({
      meta,
      host,
      log,
      ...this.#snapshotParts,
      table: this.#table,
      dataKeys: this.#dataKeys,
      opener: this.#opener,
      remover: this.#remover,
      retries: this.#retries,
    });
    this.schedules.start();
    this.#spaceWatch.start();
    await this.scrubs.start();
    // Closed before the volumes that it reads.
    this.#closing.push(this.scrubs);
    this.resealing.start();
    this.#closing.push(this.resealing);
  }

  /** Ends imports, closes the volumes and stores the last events. The MetaStore and the host stay open. */
  close(): Promise<void> {
    return this.#closing.close();
  }

  /** A stream on its way into the volume that `request` names, or makes, as StreamReceiver says. Throws REFUSED when too many come in. */
  receive(request: CreateRequest, recovery: RecoverySource | null, caller: Caller): StreamReceiver {
    return new StreamReceiver(request, recovery, caller, this.#receiverDependencies);
  }

  streamEvents(query: EventQuery, signal: AbortSignal): AsyncGenerator<EventRecord, void, void> {
    return streamEvents(this.events, query, signal);
  }

  sampleStats(query: StatsQuery, signal: AbortSignal): AsyncGenerator<Sample, void, void> {
    const { clock, exports } = this.#dependencies;
    const clientsOf = (volumeId: string): number => exports.connections(volumeId).length;
    return sampleStats(query, { table: this.#table, clock, startedMs: this.#startedMs, clientsOf }, signal);
  }

  counts(): ControlCounts {
    const records = this.#table.all();
    const live = records.filter(({ row }) => row.phase === 'live');
    const exported = live.filter(({ row }) => row.export !== null);
    return {
      volumes: live.length,
      retainedVolumes: records.filter(({ row }) => row.phase === 'retained').length,
      exports: exported.length,
      connections: exported.reduce((sum, { id }) => sum + this.#dependencies.exports.connections(id).length, 0),
      provisionedBytes: records.reduce((sum, { row }) => sum + row.sizeBytes, 0),
      snapshots: this.#snapshotParts.snapshots.all().filter(({ row }) => row.phase === 'live').length,
    };
  }

  /** Everything that does not work, and when it is tried again. */
  problems(): Problem[] {
    const problems: Problem[] = [
      ...this.#findings,
      ...this.masterKeys.problems(),
      ...this.scrubs.problems(),
      ...this.resealing.problems(),
      ...this.schedules.problems(),
      ...this.#spaceWatch.problems(),
    ];
    for (const record of this.#table.all()) {
      const problem = this.#problemOf(record);
      if (problem !== null) problems.push(problem);
    }
    for (const name of this.classes.damaged) {
      problems.push({
        subject: `storage class ${name}`,
        reason: 'its record cannot be read; its volumes are served, and kept when they are deleted',
        remedy: `\`gfs storage-class delete ${name}\`, then create it anew`,
        lastError: '',
        nextTryMs: 0,
      });
    }
    for (const name of this.qos.policies.damaged) {
      problems.push({
        subject: `policy ${name}`,
        reason: 'its record cannot be read; volumes keep the limits that they took from it',
        remedy: `\`gfs qos delete ${name}\`, then create it anew`,
        lastError: '',
        nextTryMs: 0,
      });
    }
    return problems;
  }

  /** Open volumes with their counters, for metrics. */
  measures(): { readonly record: VolumeRecord; readonly connections: number; readonly snapshots: number }[] {
    return this.#table
      .all()
      .filter(({ row }) => row.phase === 'live')
      .map((record) => ({
        record,
        connections: this.#dependencies.exports.connections(record.id).length,
        snapshots: this.#snapshotParts.service.countOf(record),
      }));
  }

  #problemOf(record: VolumeRecord): Problem | null {
    const retry = this.#retries.stateOf(retrySubject(record));
    const subject = `volume ${record.displayName}`;
    const again = { lastError: retry?.lastError ?? '', nextTryMs: retry?.nextTryMs ?? 0 };
    if (record.row.phase === 'deleting') {
      if (retry === null) return null;
      return {
        subject,
        reason: 'its deletion has not come to its end',
        remedy: 'none needed: it is tried again',
        ...again,
      };
    }
    const { serving } = record;
    if (serving.state === 'locked') {
      const remedy =
        retry === null
          ? 'give the daemon the right key provider and restart it; for a master key that is lost there is `gfs key import-recovery`'
          : 'none needed: it is tried again';
      return { subject, reason: `locked: ${serving.reason}`, remedy, ...again, lastError: serving.reason };
    }
    if (serving.state === 'damaged') {
      const remedy = retry === null ? 'restore it from a copy, or delete it' : 'none needed: it is tried again';
      return { subject, reason: `damaged: ${serving.reason}`, remedy, ...again, lastError: serving.reason };
    }
    return null;
  }
}

import type { Clock, Random } from '../base/clock.js';
import { CloseStack, type Closable } from '../base/lifecycle.js';
import type { Log } from '../base/log.js';
import type { KeyVault } from '../crypto/data-key-vault.js';
import type { MetaStore } from '../meta/meta-store.js';
import type { VolumeHost } from '../volume/volume-host.js';
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
import { Retries } from './retries.js';
import { NO_SNAPSHOTS } from './scrub-view.js';
import { Scrubs, type ScrubsOptions } from './scrubs.js';
import { type Sample, sampleStats, type StatsQuery } from './stats-sampler.js';
import { StorageClasses } from './storage-classes.js';
import { VolumeChanger } from './volume-changer.js';
import { VolumeCreator } from './volume-creator.js';
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
}

export interface ControlCounts {
  readonly volumes: number;
  readonly retainedVolumes: number;
  readonly exports: number;
  readonly connections: number;
  /** Sum of the sizes of all volumes, retained ones included. */
  readonly provisionedBytes: number;
}

/** The control plane of one node: its parts, wired, with one start and one end. */
export class ControlPlane implements Closable {
  readonly classes: StorageClasses;
  readonly volumes: Volumes;
  readonly encryption: VolumeEncryption;
  readonly masterKeys: MasterKeys;
  readonly qos: QualityOfService;
  readonly events: EventLog;
  readonly scrubs: Scrubs;
  readonly #dependencies: ControlPlaneDependencies;
  readonly #table: VolumeTable;
  readonly #dataKeys: DataKeys;
  readonly #opener: VolumeOpener;
  readonly #remover: VolumeRemover;
  readonly #retries: Retries;
  readonly #closing = new CloseStack();
  readonly #startedMs: number;
  #findings: readonly Problem[] = [];

  constructor(options: ControlPlaneOptions, dependencies: ControlPlaneDependencies) {
    this.#dependencies = dependencies;
    const { meta, host, vault, exports, clock, random, log, isZero } = dependencies;
    this.#startedMs = clock.monotonicMs();
    const events = new EventLog(options.eventsKeptMax === undefined ? {} : { keptMax: options.eventsKeptMax }, {
      meta,
      clock,
      log,
    });
    const retries = new Retries({ clock, log });
    const table = new VolumeTable({ meta, log });
    const dataKeys = new DataKeys({ meta, vault, log });
    const policies: QosPolicies = new QosPolicies({
      ...{ meta, events, clock, log },
      classesOf: (policy) => this.classes.namesWithPolicy(policy),
    });
    const classes = new StorageClasses({ meta, table, policies, events, clock, log });
    const opener = new VolumeOpener({ table, host, dataKeys, exports, retries, events, log });
    const remover = new VolumeRemover({ table, host, dataKeys, classes, exports, opener, retries, events, clock });
    const changer = new VolumeChanger({ table, opener, exports, events });
    const creator = new VolumeCreator(
      { blockBytesDefault: options.blockBytesDefault },
      { table, host, dataKeys, classes, policies, retries, clock, random, log },
    );
    this.events = events;
    this.classes = classes;
    this.qos = new QualityOfService({ table, policies, events });
    this.volumes = new Volumes({
      table,
      host,
      exports,
      creator,
      changer,
      remover,
      opener,
      retries,
      events,
      clock,
      isZero,
    });
    this.encryption = new VolumeEncryption({ table, dataKeys, retries, events, log });
    this.masterKeys = new MasterKeys(
      { nodeId: options.nodeId },
      { vault, copies: new DataKeyCopies(meta), dataKeys, table, retries, events, clock, random },
    );
    this.scrubs = new Scrubs(options.scrubs, { meta, table, host, snapshots: NO_SNAPSHOTS, events, clock, log });
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
    this.#findings = await startVolumes({
      meta,
      host,
      log,
      table: this.#table,
      dataKeys: this.#dataKeys,
      opener: this.#opener,
      remover: this.#remover,
      retries: this.#retries,
    });
    await this.scrubs.start();
    // Closed before the volumes that it reads.
    this.#closing.push(this.scrubs);
  }

  /** Ends imports, closes the volumes and stores the last events. The MetaStore and the host stay open. */
  close(): Promise<void> {
    return this.#closing.close();
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
    };
  }

  /** Everything that does not work, and when it is tried again. */
  problems(): Problem[] {
    const problems: Problem[] = [...this.#findings, ...this.masterKeys.problems(), ...this.scrubs.problems()];
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
  measures(): { readonly record: VolumeRecord; readonly connections: number }[] {
    return this.#table
      .all()
      .filter(({ row }) => row.phase === 'live')
      .map((record) => ({ record, connections: this.#dependencies.exports.connections(record.id).length }));
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

import { messageOf } from '../base/errors.js';
import type { Clock, Random } from '../base/clock.js';
import type { KeyVault, RotationOutcome } from '../crypto/data-key-vault.js';
import { flagsOf, type ProviderSettings, sameSettings, settingsOf } from '../crypto/provider-settings.js';
import { encodeRecovery, type RecoverableKey } from '../crypto/recovery-file.js';
import { decodeWrappedKey } from '../crypto/wrapped-key-record.js';
import type { Caller } from './caller.js';
import { invalid, refused, stepOf } from './control-error.js';
import type { DataKeyCopies } from './data-key-copies.js';
import type { DataKeys } from './data-keys.js';
import type { EventLog } from './event-log.js';
import { RECOVERY_PASSPHRASE_BYTES_MIN } from './limits.js';
import type { Problem } from './problem.js';
import { type MasterKeyRequest, providerOf } from './provider-request.js';
import type { Retries } from './retries.js';
import type { ResealView } from './reseal-view.js';
import { sealingNumberOf } from './volume-keys.js';
import type { VolumeTable } from './volume-table.js';

export interface MasterKeysDependencies {
  readonly vault: KeyVault;
  readonly copies: DataKeyCopies;
  readonly dataKeys: DataKeys;
  readonly table: VolumeTable;
  readonly retries: Retries;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly random: Random;
  /** How far the re-sealing of a volume is; null: there is nothing to do. */
  readonly resealing: (volumeId: string) => ResealView | null;
}

export interface MasterRotation {
  readonly keys: number;
  /** What the daemon needs from its next start on. */
  readonly settings: ProviderSettings;
  readonly settingsChanged: boolean;
  /** Id of the new master key; '' while the change is not finished. */
  readonly masterKeyId: string;
  /** '' or what is still to be done, which happens by itself. */
  readonly unfinished: string;
  /** '' or the file of the old master key, which is not in the storage path and so not ours to erase. */
  readonly oldKeyFile: string;
}

/** One data key of a volume. */
export interface KeyView {
  readonly number: number;
  /** Wall clock; 0 where its copy in the MetaStore is damaged. */
  readonly createdMs: number;
  /** Whether it seals new writes; otherwise it only opens what was written before. */
  readonly seals: boolean;
  /** Wrapped copies that are there, of two; a damaged one in the MetaStore does not count. */
  readonly copies: number;
}

export interface VolumeKeysView {
  readonly id: string;
  readonly name: string;
  readonly phase: string;
  readonly encrypted: boolean;
  /** Blocks that were written without encryption may be there. */
  readonly plainBlocks: boolean;
  readonly keys: readonly KeyView[];
  /** null: all of its blocks are sealed as new writes are. */
  readonly resealing: ResealView | null;
}

export interface KeyStatus {
  readonly provider: string;
  readonly description: string;
  readonly usable: boolean;
  /** '' when all is well. */
  readonly reason: string;
  readonly settings: ProviderSettings;
  /** '' when its check is not to be had. */
  readonly masterKeyId: string;
  /** 0 likewise. */
  readonly masterKeySinceMs: number;
  /** Data keys that have a wrapped copy, and those of them that have both. */
  readonly wrappedKeys: number;
  readonly keptTwice: number;
  readonly volumes: readonly VolumeKeysView[];
}

const UNFINISHED = 'change of the master key';

/** The verbs of `gfs key` that are about the node as a whole. Failures are ControlError. */
export class MasterKeys {
  readonly #nodeId: string;
  /** What this daemon was started with. */
  readonly #startedWith: ProviderSettings;
  readonly #dependencies: MasterKeysDependencies;

  constructor(options: { readonly nodeId: string }, dependencies: MasterKeysDependencies) {
    this.#nodeId = options.nodeId;
    this.#startedWith = settingsOf(dependencies.vault.provider);
    this.#dependencies = dependencies;
  }

  async status(): Promise<KeyStatus> {
    const { vault, copies, table } = this.#dependencies;
    const facts = await stepOf('read the master key check', vault.masterKey());
    const files = new Set(await stepOf('list data keys', vault.numbers()));
    const records = new Map(
      (await stepOf('list data keys', copies.list())).map(({ number, record }) => [
        number,
        decodeWrappedKey(record, number),
      ]),
    );
    const numbers = new Set([...files, ...records.keys()]);
    const copiesOf = (number: number): number =>
      (files.has(number) ? 1 : 0) + ((records.get(number) ?? null) === null ? 0 : 1);
    const volumes = table
      .all()
      .map((record): VolumeKeysView => {
        const { row } = record;
        const sealing = sealingNumberOf(row);
        const keys = row.dataKeyNumbers.map((number) => ({
          number,
          createdMs: records.get(number)?.madeAtMs ?? 0,
          seals: number === sealing,
          copies: copiesOf(number),
        }));
        const { id, phase, encrypted, plainBlocks } = row;
        const resealing = this.#dependencies.resealing(id);
        return { id, name: record.displayName, phase, encrypted, plainBlocks, keys, resealing };
      })
      .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0));
    const { state, provider } = vault;
    return {
      provider: provider.provider,
      description: vault.describe(),
      usable: state.usable,
      reason: state.usable ? '' : state.error.message,
      settings: settingsOf(provider),
      masterKeyId: facts?.id ?? '',
      masterKeySinceMs: facts?.sinceMs ?? 0,
      wrappedKeys: numbers.size,
      keptTwice: [...numbers].filter((number) => copiesOf(number) === 2).length,
      volumes,
    };
  }

  /** Wraps every data key under a new master key; volumes stay in use. Nothing has changed when it rejects. */
  async rotate(request: MasterKeyRequest, caller: Caller): Promise<MasterRotation> {
    const { vault, dataKeys, retries, events } = this.#dependencies;
    if (!vault.state.usable) {
      throw refused(
        'locked',
        `the master key cannot be changed without the present one: ${messageOf(vault.state.error)}`,
      );
    }
    const before = vault.provider;
    const outcome: RotationOutcome = await stepOf(
      'change master key',
      dataKeys.rotateMaster(providerOf(request, before)),
    );
    if (outcome.unfinished !== null) {
      retries.failed(UNFINISHED, outcome.unfinished, () => dataKeys.finishRotation());
    }
    const { provider } = vault;
    const settings = settingsOf(provider);
    events.append({
      kind: 'keys.master-rotated',
      volume: '',
      volumeId: '',
      actor: caller.actor,
      message: `the master key was changed (provider ${provider.provider}); ${outcome.keys} data keys were wrapped anew`,
      level: 'info',
    });
    const oldPath = before.provider === 'file' ? (before.path ?? '') : '';
    return {
      keys: outcome.keys,
      settings,
      settingsChanged: !sameSettings(settings, settingsOf(before)),
      masterKeyId: (await vault.masterKey().catch(() => null))?.id ?? '',
      unfinished: outcome.unfinished?.message ?? '',
      oldKeyFile: provider.provider === 'file' && provider.path === oldPath ? '' : oldPath,
    };
  }

  /** The bytes of a recovery file with every data key that a volume needs. `passphrase` is wiped. */
  async exportRecovery(
    passphrase: Uint8Array,
    caller: Caller,
  ): Promise<{ readonly bytes: Uint8Array; readonly keys: number; readonly volumes: number }> {
    const { table, dataKeys, copies, events, clock, random } = this.#dependencies;
    const keys: RecoverableKey[] = [];
    try {
      if (passphrase.length < RECOVERY_PASSPHRASE_BYTES_MIN) {
        const least = String(RECOVERY_PASSPHRASE_BYTES_MIN);
        throw invalid(
          'passphrase',
          `the passphrase of a recovery file has at least ${least} characters: it alone protects all keys`,
        );
      }
      const rows = table.all().filter(({ row }) => row.phase !== 'deleting' && row.dataKeyNumbers.length > 0);
      const numbers = [...new Set(rows.flatMap(({ row }) => row.dataKeyNumbers))].sort((one, other) => one - other);
      const loaded = await stepOf('load data keys', dataKeys.load(numbers));
      const records = new Map(
        (await copies.list()).map(({ number, record }) => [number, decodeWrappedKey(record, number)]),
      );
      keys.push(
        ...loaded.map(({ number, secret }) => ({ number, secret, madeAtMs: records.get(number)?.madeAtMs ?? 0 })),
      );
      const volumes = rows.map((record) => ({
        id: record.id,
        name: record.displayName,
        keys: record.row.dataKeyNumbers,
      }));
      const bytes = await encodeRecovery({ nodeId: this.#nodeId, volumes, keys }, passphrase, { clock, random });
      events.append({
        kind: 'keys.recovery-exported',
        volume: '',
        volumeId: '',
        actor: caller.actor,
        message: `a recovery file was made with ${keys.length} data keys`,
        level: 'warn',
      });
      return { bytes, keys: keys.length, volumes: volumes.length };
    } finally {
      passphrase.fill(0);
      for (const { secret } of keys) secret.fill(0);
    }
  }

  /** What does not work, or will not after a restart, and is about keys as a whole. */
  problems(): Problem[] {
    const { retries, vault } = this.#dependencies;
    const problems: Problem[] = [];
    const settings = settingsOf(vault.provider);
    if (!sameSettings(settings, this.#startedWith)) {
      problems.push({
        subject: 'keys',
        reason:
          'the master key was changed, and a start with the settings of this one would leave encrypted volumes locked',
        remedy: `give the daemon ${flagsOf(settings)} (or the same in its file) from its next start on`,
        lastError: '',
        nextTryMs: 0,
      });
    }
    const retry = retries.stateOf(UNFINISHED);
    if (retry !== null) {
      problems.push({
        subject: 'keys',
        reason:
          'the new master key is in force, and copies under the old one are not all erased yet; no data key can be made meanwhile',
        remedy: 'none needed: it is tried again, and a start ends it too',
        lastError: retry.lastError,
        nextTryMs: retry.nextTryMs,
      });
    }
    return problems;
  }
}

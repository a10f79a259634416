import { join } from 'node:path';
import type { Clock, Random } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { KeyProvider, KeyProviderOptions } from '../crypto/key-provider.js';
import { openKeyProvider } from '../crypto/open-key-provider.js';
import { unwrapRecord } from '../crypto/record-wrapping.js';
import { fileModeOf, readIfThere } from '../crypto/secret-file.js';
import { decodeWrappedKey } from '../crypto/wrapped-key-record.js';
import type { Files } from '../io/files.js';
import { ReadOnlyFiles } from '../io/read-only-files.js';
import type { VolumeRow } from '../model/volume-row.js';
import { damage, note, type ReportFinding } from '../store/check-finding.js';
import { type MetaContents, nameOf } from './meta-check.js';

export interface CheckedKey {
  readonly number: number;
  readonly secret: Uint8Array;
}

/** The data keys of volumes, opened with the master key as far as both are there. Nothing is healed. */
export class KeyCheck {
  readonly #keysPath: string;
  readonly #provider: KeyProvider | null;
  readonly #files: Files;
  readonly #meta: MetaContents;
  readonly #report: ReportFinding;

  private constructor(
    options: { keysPath: string },
    dependencies: { provider: KeyProvider | null; files: Files; meta: MetaContents; report: ReportFinding },
  ) {
    this.#keysPath = options.keysPath;
    this.#provider = dependencies.provider;
    this.#files = dependencies.files;
    this.#meta = dependencies.meta;
    this.#report = dependencies.report;
  }

  static async open(
    options: { readonly keysPath: string; readonly provider: KeyProviderOptions },
    dependencies: {
      readonly files: Files;
      readonly clock: Clock;
      readonly random: Random;
      readonly environment: Readonly<Record<string, string | undefined>>;
      readonly meta: MetaContents;
      readonly report: ReportFinding;
    },
  ): Promise<KeyCheck> {
    const { clock, random, environment, meta, report } = dependencies;
    const files = new ReadOnlyFiles(dependencies.files);
    const rows = [...meta.volumes, ...meta.snapshots];
    const encrypted = rows.some(({ dataKeyNumbers }) => dataKeyNumbers.length > 0);
    let provider: KeyProvider | null = null;
    if (encrypted && (await files.exists(join(options.keysPath, 'rotation.json')))) {
      report(
        note('keys', 'the master key was being changed; the next start finishes that, and keys are not tried before'),
      );
    } else if (encrypted) {
      try {
        const place = { keysPath: options.keysPath, mayCreate: false };
        ({ provider } = await openKeyProvider(options.provider, place, {
          ...{ files, clock, random, environment, modeOf: fileModeOf },
        }));
      } catch (thrown) {
        report(note('keys', `blocks of encrypted volumes are not opened: ${messageOf(thrown)}`));
      }
    }
    return new KeyCheck(options, { provider, files, meta, report });
  }

  /** The keys of a volume and its snapshots; null when one of them cannot be had, which is told. */
  async keysOf(row: VolumeRow): Promise<CheckedKey[] | null> {
    const keys: CheckedKey[] = [];
    let complete = true;
    const snapshots = this.#meta.snapshots.filter(({ volumeId }) => volumeId === row.id);
    const numbers = new Set([row, ...snapshots].flatMap(({ dataKeyNumbers }) => dataKeyNumbers));
    for (const number of numbers) {
      const secret = await this.#open(number, `volume ${nameOf(row)}`);
      if (secret === null) complete = false;
      else keys.push({ number, secret });
    }
    if (complete) return keys;
    for (const { secret } of keys) secret.fill(0);
    return null;
  }

  async #open(number: number, subject: string): Promise<Uint8Array | null> {
    const path = join(this.#keysPath, 'data', `${String(number)}.json`);
    const file = await readIfThere(this.#files, path);
    const meta = this.#meta.dataKeys.get(number);
    const copies = [
      { where: 'meta/', record: meta === undefined ? null : decodeWrappedKey(meta, number) },
      { where: path, record: file === null ? null : decodeWrappedKey(file, number) },
    ];
    const good = copies.filter(({ record }) => record !== null);
    if (good.length === 0) {
      this.#report(
        damage(subject, `both copies of its data key ${number} are lost`, 'it is locked: restore a copy of keys/'),
      );
      return null;
    }
    for (const { where, record } of copies) {
      if (record !== null) continue;
      const what = `the copy of its data key ${number} in ${where} is missing or damaged`;
      this.#report(damage(subject, what, 'the other copy opens it; a start makes this one anew'));
    }
    if (this.#provider === null) return null;
    let failure = '';
    for (const { record } of good) {
      if (record === null) continue;
      try {
        return await unwrapRecord(this.#provider, record);
      } catch (thrown) {
        failure = messageOf(thrown);
      }
    }
    this.#report(
      damage(
        subject,
        `its data key ${number} does not open: ${failure}`,
        'it is locked until the right master key is there',
      ),
    );
    return null;
  }

  async close(): Promise<void> {
    await this.#provider?.close();
  }
}

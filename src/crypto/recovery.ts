import { join } from 'node:path';
import { CryptoError } from './crypto-error.js';
import { DataKeyVault, type VaultDependencies } from './data-key-vault.js';
import type { KeyProviderOptions } from './key-provider.js';
import { keyCheckMatches } from './key-wrap.js';
import { type KeyToWrap, putMasterKeyInForce, settleRotation } from './master-rotation.js';
import type { MetaCopies } from './meta-copies.js';
import type { RecoverableKey } from './recovery-file.js';
import { readIfThere } from './secret-file.js';
import { decodeWrappedKey, type WrappedKeyRecord } from './wrapped-key-record.js';

/** Which data keys a node needs, as its records say. */
export interface KeyNeeds {
  readonly numbers: ReadonlySet<number>;
  /** Records that cannot be read: the keys that they name are needed too, whichever they are. */
  readonly unreadable: number;
}

/** What a recovery did; numbers ascend. */
export interface Recovery {
  /** Taken from the recovery file. */
  readonly recovered: readonly number[];
  /** Not in the file, and opened with the old master key. */
  readonly kept: readonly number[];
  /** Needed, and neither. Their wrapped copies, if there are any, stay as they are. */
  readonly lost: readonly number[];
  /** One sentence about the new master key. */
  readonly provider: string;
}

/**
 * Wraps every data key that the node needs under a new master key, which `provider` names: those of a recovery file, and
 * others as far as the old one opens them. Keys of volumes that have been deleted since stay gone. Nothing has changed when
 * this rejects. Throws CryptoError: OPTIONS when there is nothing to recover, DAMAGED when the file holds another key under a
 * number than the node does, and what the new provider throws.
 */
export async function recoverKeys(
  options: { readonly keysPath: string; readonly provider: KeyProviderOptions },
  from: { readonly keys: readonly RecoverableKey[]; readonly needs: KeyNeeds; readonly metaCopies: MetaCopies },
  dependencies: VaultDependencies,
): Promise<Recovery> {
  const { metaCopies, needs } = from;
  const offered = new Map(from.keys.map((key) => [key.number, key]));
  const wanted = needs.unreadable > 0 ? new Set([...needs.numbers, ...offered.keys()]) : needs.numbers;
  const numbers = [...wanted].sort((one, other) => one - other);
  const recovered: number[] = [];
  const kept: number[] = [];
  const lost: number[] = [];
  // A change of the master key that was cut off comes to its end first, whether or not it can be opened then.
  const old = await DataKeyVault.open({ ...options, metaCopies }, dependencies);
  const stillOpened: KeyToWrap[] = [];
  try {
    const copies = new Map((await metaCopies.list()).map(({ number, record }) => [number, record]));
    for (const number of numbers) {
      const copy = copies.get(number) ?? null;
      const record = copy === null ? null : decodeWrappedKey(copy, number);
      const opened = old.state.usable ? await old.load(number, copy).catch(nullOfCrypto) : null;
      if (opened !== null) {
        stillOpened.push({ number, secret: opened.secret, madeAtMs: record?.madeAtMs ?? 0 });
        continue;
      }
      const key = offered.get(number);
      if (key === undefined) {
        lost.push(number);
        continue;
      }
      refuseOther(key, record ?? (await fileRecord(options.keysPath, number, dependencies)));
      recovered.push(number);
    }
    refuseNeedless(recovered, lost, numbers.length);
    kept.push(...stillOpened.map(({ number }) => number));
    const all = async function* (): AsyncGenerator<KeyToWrap, void, void> {
      yield* stillOpened;
      for (const number of recovered) {
        const key = offered.get(number);
        if (key !== undefined) yield { ...key, secret: key.secret.slice() };
        await Promise.resolve();
      }
    };
    await putMasterKeyInForce({ ...options, mayBeInUse: true }, all(), dependencies);
  } finally {
    for (const { secret } of stillOpened) secret.fill(0);
    await old.close();
  }
  await settleRotation(options.keysPath, dependencies, metaCopies);
  return {
    recovered,
    kept,
    lost,
    provider: await proven({ ...options, metaCopies }, [...recovered, ...kept], dependencies),
  };
}

function refuseNeedless(recovered: readonly number[], lost: readonly number[], needed: number): void {
  if (recovered.length > 0) return;
  const message =
    needed === 0
      ? 'no volume of this node needs a data key: its records are lost, or it has no encrypted volumes; bring meta/ back from a copy first'
      : lost.length > 0
        ? `none of the data keys that are lost is in the recovery file: ${lost.join(', ')}`
        : 'the master key opens every data key that is needed: there is nothing to recover';
  throw new CryptoError(message, { code: 'OPTIONS', option: 'file' });
}

/** Numbers are never used twice on a node: what is there under this one, and is another key, is of another history. */
function refuseOther({ number, secret }: RecoverableKey, record: WrappedKeyRecord | null): void {
  if (record === null || keyCheckMatches(secret, record.check)) return;
  const message = `data key ${String(number)} of the recovery file is not the one that this node has under that number`;
  throw new CryptoError(message, { code: 'DAMAGED', subject: `data key ${String(number)}` });
}

async function fileRecord(
  keysPath: string,
  number: number,
  { files }: VaultDependencies,
): Promise<WrappedKeyRecord | null> {
  const bytes = await readIfThere(files, join(keysPath, 'data', `${String(number)}.json`));
  return bytes === null ? null : decodeWrappedKey(bytes, number);
}

/** Opens everything as the next start will. */
async function proven(
  options: { readonly keysPath: string; readonly provider: KeyProviderOptions; readonly metaCopies: MetaCopies },
  numbers: readonly number[],
  dependencies: VaultDependencies,
): Promise<string> {
  const vault = await DataKeyVault.open(options, dependencies);
  try {
    if (!vault.state.usable) throw vault.state.error;
    const copies = new Map((await options.metaCopies.list()).map(({ number, record }) => [number, record]));
    for (const number of numbers) (await vault.load(number, copies.get(number) ?? null)).secret.fill(0);
    return vault.describe();
  } finally {
    await vault.close();
  }
}

function nullOfCrypto(thrown: unknown): null {
  if (thrown instanceof CryptoError) return null;
  throw thrown;
}

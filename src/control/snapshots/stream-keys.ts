import { messageOf } from '../../base/errors.js';
import type { SealedBegin } from '../../backup/stream-format.js';
import type { ForeignKey } from '../../crypto/data-key-vault.js';
import { keyCheckMatches } from '../../crypto/key-wrap.js';
import { decodeRecovery, type RecoverableKey } from '../../crypto/recovery-file.js';
import { decodeWrappedKey } from '../../crypto/wrapped-key-record.js';
import { codeOf, ControlError, refused, stepOf } from '../control-error.js';
import type { DataKeys } from '../data-keys.js';

/** A recovery file and what opens it. */
export interface RecoverySource {
  readonly file: Uint8Array;
  /** Whoever opens it wipes it. */
  readonly passphrase: Uint8Array;
}

/** A key of a sealed stream, under its number there. */
export interface StreamKey extends ForeignKey {
  readonly number: number;
}

const SUBJECT = 'the recovery file';

/**
 * The data keys of a sealed stream, in its order; the caller wipes them. Those that the recovery file has come from it, the
 * others must be wrapped under the master key of this node. Throws REFUSED naming what is wanted, and what is wrong with the file.
 */
export async function openStreamKeys(
  begin: SealedBegin,
  recovery: RecoverySource | null,
  dataKeys: DataKeys,
): Promise<StreamKey[]> {
  const recovered = recovery === null ? [] : await openRecovery(recovery);
  const keys: StreamKey[] = [];
  try {
    const missing: number[] = [];
    let failure = '';
    for (const { number, record } of begin.keys) {
      const bytes = Buffer.from(record, 'base64');
      const check = decodeWrappedKey(bytes, number)?.check ?? '';
      const found = recovered.find(({ secret }) => keyCheckMatches(secret, check));
      if (found !== undefined) {
        keys.push({ number, secret: found.secret.slice(), madeAtMs: found.madeAtMs });
        continue;
      }
      const own = await dataKeys.unwrapForeign(number, bytes).catch((thrown: unknown) => {
        failure = messageOf(thrown);
        return null;
      });
      if (own === null) missing.push(number);
      else keys.push({ number, ...own });
    }
    if (missing.length > 0) throw missingKeys(begin, missing, recovery !== null, failure);
    return keys;
  } catch (thrown) {
    wipeKeys(keys);
    throw thrown;
  } finally {
    wipeKeys(recovered);
  }
}

export function wipeKeys(keys: readonly { readonly secret: Uint8Array }[]): void {
  for (const { secret } of keys) secret.fill(0);
}

async function openRecovery({ file, passphrase }: RecoverySource): Promise<readonly RecoverableKey[]> {
  try {
    return (await decodeRecovery(file, passphrase, SUBJECT)).keys;
  } catch (thrown) {
    if (codeOf(thrown) !== 'WRONG_KEY') return await stepOf('open the recovery file', Promise.reject(thrown as Error));
    throw new ControlError(messageOf(thrown), { code: 'INVALID', field: 'recovery_passphrase' }, { cause: thrown });
  } finally {
    passphrase.fill(0);
  }
}

function missingKeys(
  { nodeId, masterKeyId, volume, keys }: SealedBegin,
  missing: readonly number[],
  hadFile: boolean,
  failure: string,
): ControlError {
  const which = `data ${missing.length === 1 ? 'key' : 'keys'} ${missing.join(', ')}`;
  const of = missing.length === keys.length ? '' : ` of ${keys.length}`;
  const wrapped = `wrapped under the master key ${masterKeyId === '' ? '' : `${masterKeyId} `}of node ${nodeId}`;
  const why = failure === '' ? '' : ` (${failure})`;
  const wanted = hadFile
    ? 'and the recovery file does not have them: make a new one there with `gfs key export-recovery`'
    : 'and this node has another one: give --recovery-file with a file that `gfs key export-recovery` made there';
  return refused('locked', `the stream of volume ${volume.name} needs ${which}${of}, ${wrapped}, ${wanted}${why}`);
}

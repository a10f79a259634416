/** How the MetaStore's LMDB environment is opened and walked; the store and its probe share this and nothing else. */
import { open, type RootDatabase } from 'lmdb';
import { LMDB_MAP_BYTES } from './limits.js';
import { checksumOf, decodeRecord, decodeState, RECORD_PREFIX, STATE_KEY, type MetaState } from './lmdb-record.js';

export type Environment = RootDatabase<Buffer, Buffer>;

export interface EnvironmentSurvey {
  /** null: damaged, or not there. */
  readonly state: MetaState | null;
  /** Records that pass their checksum, the XOR of their checksums, and the highest revision among them. */
  readonly records: number;
  readonly digest: number;
  readonly revisionMax: number;
  /** Keys of records that do not. */
  readonly damaged: readonly string[];
  /** Records that end with a lease. */
  readonly leased: readonly { readonly key: string; readonly checksum: number }[];
}

/** Opens the environment in the folder `path`; throws what LMDB throws. Reading a damaged one may end the process. */
export function openEnvironment(path: string, readOnly: boolean, mapBytes = LMDB_MAP_BYTES): Environment {
  const options = {
    path,
    noSubdir: false,
    encoding: 'binary' as const,
    keyEncoding: 'binary' as const,
    maxDbs: 1,
    cache: false,
    readOnly,
    mapSize: mapBytes,
    // A promise that resolves before the fdatasync would make every acknowledgement of the control plane a guess.
    overlappingSync: false,
    // With batching by turn a failed commit rejects a promise that nobody can reach, which ends the process.
    eventTurnBatching: false,
    permissionsMode: 0o600,
  };
  return open<Buffer, Buffer>(options);
}

/** The bytes under which the record of a key lies. */
export function recordKey(key: string): Buffer {
  return Buffer.from(RECORD_PREFIX + key, 'latin1');
}

export function stateKey(): Buffer {
  return Buffer.from(STATE_KEY, 'latin1');
}

/** Every record whose key starts with `prefix`, in key order. The bytes are valid until the next step. */
export function* walkRecords(environment: Environment, prefix: string): Generator<{ key: string; bytes: Uint8Array }> {
  for (const { key, value } of environment.getRange({ start: recordKey(prefix) })) {
    const name = key.toString('latin1');
    if (!name.startsWith(RECORD_PREFIX + prefix)) return;
    yield { key: name.slice(RECORD_PREFIX.length), bytes: value };
  }
}

/** Reads everything there is. On a damaged environment this may end the process: the probe does it first. */
export function survey(environment: Environment): EnvironmentSurvey {
  let records = 0;
  let digest = 0;
  let revisionMax = 0;
  const damaged: string[] = [];
  const leased: { key: string; checksum: number }[] = [];
  for (const { key, bytes } of walkRecords(environment, '')) {
    const entry = decodeRecord(key, bytes);
    if (entry === null) {
      damaged.push(key);
      continue;
    }
    records++;
    digest = (digest ^ checksumOf(bytes)) >>> 0;
    revisionMax = Math.max(revisionMax, entry.revision);
    if (entry.lease !== 0) leased.push({ key, checksum: checksumOf(bytes) });
  }
  const stateBytes = environment.get(stateKey());
  const state = stateBytes === undefined ? null : decodeState(stateBytes);
  return { state, records, digest, revisionMax, damaged, leased };
}

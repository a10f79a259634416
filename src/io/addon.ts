/**
 * The native addon as JavaScript sees it: the twin of native/binding.cc. Every call checks its arguments and throws
 * TypeError or RangeError for wrong ones, which are mistakes of ours; what the system refuses comes back as a negative
 * errno. `done` never runs before the call returns, and is called exactly once unless the call returned an errno.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf } from '../base/errors.js';

/** 0 or a count, or a negative errno. */
export type Outcome = number;
type Done = (outcome: Outcome) => void;

export type RecordConstant =
  | 'MAGIC'
  | 'VERSION'
  | 'MAGIC_AT'
  | 'VERSION_AT'
  | 'KIND_AT'
  | 'STAMP_AT'
  | 'HEADER_BYTES_AT'
  | 'RECORD_BYTES_AT'
  | 'SEQUENCE_AT'
  | 'LAYER_AT'
  | 'LAYER_ORDINAL_AT'
  | 'DURABLE_UP_TO_AT'
  | 'EPOCH_AT'
  | 'EXTENT_COUNT_AT'
  | 'PAYLOAD_OFFSET_AT'
  | 'BLOCK_LOG2_AT'
  | 'PAYLOAD_CRC_AT'
  | 'HEADER_CRC_AT'
  | 'BY_KIND_AT'
  | 'EXTENTS_AT'
  | 'EXTENT_BYTES'
  | 'HEADER_BYTES_MIN'
  | 'HEADER_BYTES_MAX'
  | 'APPEND_BORDER_BYTES';

export type BlockConstant =
  | 'HEADER_BYTES'
  | 'NONCE_AT'
  | 'COUNTER_AT'
  | 'NONCE_BYTES'
  | 'TAG_AT'
  | 'TAG_BYTES'
  | 'SALT_AT'
  | 'SALT_BYTES'
  | 'KEY_NUMBER_AT'
  | 'GENERATION_AT'
  | 'FLAGS_AT'
  | 'LOG2_AT'
  | 'STORED_LENGTH_AT'
  | 'HEADER_CRC_AT'
  | 'FLAG_PLAIN'
  | 'PLAIN_BYTES_MIN'
  | 'PLAIN_BYTES_MAX'
  | 'GENERATION_MAX';

/** The arrays of a SealBatch one by one: reading properties is cheap here and dear in native code. */
type SealArguments = [
  file: number,
  offset: number,
  headers: Uint8Array,
  headerBytes: number,
  records: Int32Array,
  recordCount: number,
  recordBlockBytes: Int32Array,
  blockInts: Int32Array,
  blockNumbers: Float64Array,
  blockCount: number,
  sources: readonly Uint8Array[],
  generation: number,
];

/** The arrays of an OpenBatch. */
type OpenArguments = [
  ints: Int32Array,
  numbers: Float64Array,
  status: Int32Array,
  count: number,
  destinations: readonly Uint8Array[],
];

export interface Addon {
  readonly record: Readonly<Record<RecordConstant, number>>;
  readonly block: Readonly<Record<BlockConstant, number>>;

  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number;
  isZero(bytes: Uint8Array, offset: number, length: number): boolean;
  /** For tests: `false` computes without the machine's CRC32C instruction. Returns whether it is in use now. */
  allowHardwareChecksums(allow: boolean): boolean;

  createKeyring(allowPlain: boolean): number;
  addDataKey(keyring: number, number: number, dataKey: Uint8Array): void;
  releaseKeyring(keyring: number): void;
  createSealingKey(keyring: number, number: number, salt: Uint8Array): number;
  releaseSealingKey(key: number): void;
  /** How many blocks are proven, up to the first that is not. */
  proveSealed(keyring: number, bytes: Uint8Array, blockBytes: number, first: number): Outcome;

  appendNow(...batch: SealArguments): Outcome;
  appendLater(...batchAndDone: [...SealArguments, done: Done]): Outcome;
  /** The number of misses. */
  openNow(...batch: OpenArguments): number;
  openLater(...batchAndDone: [...OpenArguments, done: Done]): Outcome;

  allocate(file: number, offset: number, length: number, done: Done): Outcome;
  /** `offset` means nothing here. */
  truncate(file: number, offset: number, length: number, done: Done): Outcome;
  fillZeros(file: number, offset: number, length: number, done: Done): Outcome;
  punch(file: number, offset: number, length: number, done: Done): Outcome;
  writeback(file: number, offset: number, length: number, done: Done): Outcome;
  dropCache(file: number, offset: number, length: number, done: Done): Outcome;
  readAhead(file: number, offset: number, length: number, done: Done): Outcome;
  /** `offset` and `length` mean nothing here: it is said of the descriptor. */
  noReadAhead(file: number, offset: number, length: number, done: Done): Outcome;
  sync(file: number, done: Done): Outcome;
  syncDirectory(path: string, done: Done): Outcome;
  read(file: number, fileOffset: number, into: Uint8Array, offset: number, length: number, done: Done): Outcome;
  write(file: number, fileOffset: number, bytes: Uint8Array, done: Done): Outcome;
  lockFile(file: number): Outcome;
  duplicateDescriptor(file: number): Outcome;
  notifySystemd(socketPath: string, state: string): boolean;
}

/** The folder that holds package.json: two steps up from src/io as well as from dist/io, wherever dist/ puts it. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('the native addon was not found: its package has no package.json');
    folder = parent;
  }
  return folder;
}

/**
 * Environment variable GFS_ADDON_PATH names another build of the addon, for runs under a sanitizer
 * (scripts/test-asan.sh).
 */
function load(): Addon {
  const require = createRequire(import.meta.url);
  const other = process.env['GFS_ADDON_PATH'];
  try {
    if (other !== undefined && other !== '') return require(other) as Addon;
    const nodeGypBuild = require('node-gyp-build') as (root: string) => unknown;
    return nodeGypBuild(packageRoot()) as Addon;
  } catch (thrown) {
    const first = messageOf(thrown).split('\n')[0] ?? '';
    throw new Error(`the native addon cannot be loaded; run \`npm run build\` (${first})`, { cause: thrown });
  }
}

export const addon: Addon = load();

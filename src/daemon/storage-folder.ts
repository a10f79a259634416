/**
 * The storage path of a node:
 *
 *   node.json   identity and format version, JSON: {"format": 1, "nodeId": "uuid", "createdAtMs": n, "crc32c": "0123abcd"},
 *               the last as crypto/checked-json.ts says
 *   lock        held by the running daemon
 *   meta/       LMDB: the MetaStore
 *   map/        LMDB: leaves, layers, checkpoint
 *   journal/    segments
 *   keys/       master key or its parameters, second copies of wrapped data keys; see crypto/master-rotation.ts
 *   run/        control.token (0600), nbd.sock
 *   reserve     disk space held back for starting and deleting on a full disk
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock, Random } from '../base/clock.js';
import { errnoOf, messageOf } from '../base/errors.js';
import type { Closable } from '../base/lifecycle.js';
import { randomUuid } from '../base/uuid.js';
import { decodeChecked, encodeChecked } from '../crypto/checked-json.js';
import { FileError } from '../io/file-error.js';
import type { FileLock, Files } from '../io/files.js';
import type { SpaceReserve } from '../io/space-reserve.js';
import { DaemonError } from './daemon-error.js';

/** Newest layout that this program reads, and the one that it writes. */
export const STORAGE_FORMAT = 1;

const TOKEN_BYTES = 32;
/** As the first version wrote it, byte for byte: what has lost its checksum to damage does not look like this. */
const WITHOUT_CHECKSUM = /^\{"format":1,"nodeId":"[0-9a-f-]{36}","createdAtMs":\d+(?:\.\d+)?\}\n$/;

const nodeSchema = z.object({
  format: z.number().int().positive(),
  nodeId: z.uuid(),
  createdAtMs: z.number().nonnegative(),
});

export interface StorageFolderDependencies {
  readonly files: Files;
  readonly clock: Clock;
  readonly random: Random;
}

/** A storage path that this process owns: locked, with an identity. */
export class StorageFolder implements Closable {
  readonly path: string;
  readonly nodeId: string;
  readonly #lock: FileLock;
  readonly #io: StorageFolderDependencies;

  private constructor(path: string, nodeId: string, lock: FileLock, dependencies: StorageFolderDependencies) {
    this.path = path;
    this.nodeId = nodeId;
    this.#lock = lock;
    this.#io = dependencies;
  }

  /** Makes the folder if need be, locks it and reads or makes its identity. Throws DaemonError START. */
  static async open(path: string, dependencies: StorageFolderDependencies): Promise<StorageFolder> {
    await makeFolder(path);
    const lock = await takeLock(path, dependencies.files);
    try {
      const nodeId = await identity(path, dependencies);
      await mkdir(join(path, 'run'), { recursive: true, mode: 0o700 });
      return new StorageFolder(path, nodeId, lock, dependencies);
    } catch (thrown) {
      await lock.release();
      throw thrown instanceof DaemonError ? thrown : refusal(path, messageOf(thrown));
    }
  }

  get keysPath(): string {
    return join(this.path, 'keys');
  }

  get metaPath(): string {
    return join(this.path, 'meta');
  }

  get tokenFile(): string {
    return join(this.path, 'run', 'control.token');
  }

  get reserveFile(): string {
    return join(this.path, 'reserve');
  }

  /** The identity as 16 bytes. */
  get nodeIdBytes(): Uint8Array {
    return nodeIdBytesOf(this.nodeId);
  }

  /**
   * A fresh bearer token for this run: one that leaked with a backup of the folder opens nothing. On a full disk the
   * space held back is used, and at last the old token's own bytes: a node must start there too.
   */
  async writeToken(reserve: SpaceReserve): Promise<string> {
    const { files, random } = this.#io;
    const token = Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url');
    const bytes = Buffer.from(`${token}\n`);
    try {
      await files.replaceFile(this.tokenFile, bytes, 0o600);
      return token;
    } catch (thrown) {
      if (!isFull(thrown)) throw refusal(this.path, messageOf(thrown));
    }
    try {
      if (await reserve.giveUp()) await files.replaceFile(this.tokenFile, bytes, 0o600);
      else await this.#overwriteToken(bytes);
      return token;
    } catch (thrown) {
      throw refusal(this.path, `the disk is full; free some space (${messageOf(thrown)})`);
    }
  }

  async #overwriteToken(bytes: Uint8Array): Promise<void> {
    const { files } = this.#io;
    const file = await files.open(this.tokenFile, 'write');
    try {
      await files.write(file, 0, bytes);
      await files.sync(file);
    } finally {
      await files.close(file);
    }
  }

  async close(): Promise<void> {
    await this.#lock.release();
  }
}

function isFull(thrown: unknown): boolean {
  return thrown instanceof FileError && thrown.code === 'NO_SPACE';
}

function refusal(path: string, reason: string): DaemonError {
  return new DaemonError(`the storage path ${path} cannot be used: ${reason}`, { code: 'START', subject: path });
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === 'EROFS') throw refusal(path, 'the file system is read-only; give a path on one that can be written');
    if (errno === 'EACCES' || errno === 'EPERM')
      throw refusal(path, 'this user may not create it; make it and give it to the user');
    if (errno === 'EEXIST' || errno === 'ENOTDIR') throw refusal(path, 'it is not a folder');
    throw refusal(path, messageOf(thrown));
  }
}

async function takeLock(path: string, files: Files): Promise<FileLock> {
  try {
    return await files.lock(join(path, 'lock'));
  } catch (thrown) {
    if (thrown instanceof FileError) {
      if (thrown.code === 'LOCKED') throw refusal(path, 'another daemon is running on it (see `gfs status`)');
      if (thrown.code === 'READ_ONLY') throw refusal(path, 'the file system is read-only');
    }
    throw refusal(path, `it cannot be written: ${messageOf(thrown)}`);
  }
}

async function identity(path: string, { files, clock, random }: StorageFolderDependencies): Promise<string> {
  const file = join(path, 'node.json');
  if (await files.exists(file)) {
    const parsed = nodeSchema.safeParse(readIdentity(await files.readFile(file)));
    if (!parsed.success) throw refusal(path, 'node.json is damaged; restore it from a copy');
    refuseNewer(parsed.data.format, path);
    return parsed.data.nodeId;
  }
  if (await files.exists(join(path, 'journal'))) {
    throw refusal(path, 'it holds a journal but no node.json; restore node.json from a copy');
  }
  const nodeId = randomUuid(random);
  await files.replaceFile(file, encodeChecked({ format: STORAGE_FORMAT, nodeId, createdAtMs: clock.wallMs() }), 0o600);
  return nodeId;
}

function refuseNewer(format: number, path: string): void {
  if (format <= STORAGE_FORMAT) return;
  throw refusal(path, `it has format ${format}, this program knows ${STORAGE_FORMAT}; use a newer gfs`);
}

/** A node's id as 16 bytes; '' gives zeros. */
export function nodeIdBytesOf(nodeId: string): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(Buffer.from(nodeId.replaceAll('-', ''), 'hex'));
  return bytes;
}

/** The id that node.json names; null when it is damaged. Throws DaemonError START when this program is too old for it. */
export function readNodeId(bytes: Uint8Array, path: string): string | null {
  const parsed = nodeSchema.safeParse(readIdentity(bytes));
  if (!parsed.success) return null;
  refuseNewer(parsed.data.format, path);
  return parsed.data.nodeId;
}

/** What node.json holds, or null: with another digit in its identity a node would take its own journal for a stranger's. */
function readIdentity(bytes: Uint8Array): unknown {
  const checked = decodeChecked(bytes);
  if (checked !== null) return checked;
  const match = WITHOUT_CHECKSUM.exec(Buffer.from(bytes).toString('latin1'));
  return match === null ? null : JSON.parse(match[0]);
}

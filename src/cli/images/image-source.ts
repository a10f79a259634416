import { type FileHandle, open, readFile } from 'node:fs/promises';
import { errnoOf, messageOf } from '../../base/errors.js';
import { failure, usageError } from '../cli-error.js';
import { MAGIC_BYTES } from './image-format.js';

/** A local image, opened: a file or a block device. */
export interface ImageSource {
  readonly file: FileHandle;
  readonly path: string;
  readonly sizeBytes: number;
  /** The first bytes, fewer when it is shorter. */
  readonly head: Uint8Array;
  /** A file without one stored block holds only zeros, whatever its size. */
  readonly allZeros: boolean;
}

/** Opens `path`; the caller closes `file`. `shown` is how the user wrote it. */
export async function openImage(path: string, shown: string): Promise<ImageSource> {
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOENT') throw failure(`there is no file ${shown}`, thrown);
    throw failure(`${shown} cannot be opened: ${messageOf(thrown)}`, thrown);
  }
  try {
    const stat = await file.stat();
    let sizeBytes = stat.size;
    if (stat.isBlockDevice()) sizeBytes = await blockDeviceBytes(stat.rdev, shown);
    else if (stat.isDirectory()) throw usageError(`${shown} is a folder; an image is a file or a block device`);
    else if (!stat.isFile()) throw usageError(`${shown} is a stream without a size; write it to a file first`);
    if (sizeBytes === 0) throw usageError(`${shown} is empty; a volume cannot have no size`);
    const head = Buffer.alloc(MAGIC_BYTES);
    const { bytesRead } = await file.read(head, 0, MAGIC_BYTES, 0);
    const allZeros = stat.isFile() && stat.blocks === 0 && isZero(head);
    return { file, path, sizeBytes, head: head.subarray(0, bytesRead), allZeros };
  } catch (thrown) {
    await file.close();
    throw thrown;
  }
}

/** stat(2) says 0 for a device; sysfs knows its length in sectors of 512 bytes, whatever its own sectors are. */
async function blockDeviceBytes(rdev: number, shown: string): Promise<number> {
  // gnu_dev_major and gnu_dev_minor of glibc, for the low 32 bits that Node gives.
  const major = (rdev >>> 8) & 0xfff;
  const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
  try {
    const text = await readFile(`/sys/dev/block/${String(major)}:${String(minor)}/size`, 'utf8');
    return Number(text.trim()) * 512;
  } catch (thrown) {
    throw failure(`the size of ${shown} is not to be had; copy it to a file first`, thrown);
  }
}

/** Inline data of small files takes no blocks on some file systems: the head has to agree. */
function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

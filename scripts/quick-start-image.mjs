// A real file system to put into a volume, and the stock clients that carry it.
import { createHash } from 'node:crypto';
import {
  cpSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { findProgram, fullPath } from './debian-packages.mjs';
import { runCommand } from './run-command.mjs';

/** A sentence that is in the image and must not be in the journal. */
export const PLAINTEXT_MARKER = 'galleon quick start: this sentence must never be readable on the disk.';
const TREE = ['src', 'test', 'native', 'dist', 'README.md', 'LICENSE'];

/**
 * Makes an ext4 image of `sizeBytes` that holds this repository's own files; where mke2fs is missing, a plain file of
 * numbered lines. Returns the command that made it and whether it is a file system.
 * @param {string} root
 * @param {string} folder Scratch space.
 * @param {number} sizeBytes
 */
export async function makeImage(root, folder, sizeBytes) {
  const image = join(folder, 'image.raw');
  const tree = join(folder, 'tree');
  mkdirSync(tree, { recursive: true });
  for (const name of TREE)
    if (existsSync(join(root, name))) cpSync(join(root, name), join(tree, name), { recursive: true });
  writeFileSync(join(tree, 'marker.txt'), `${PLAINTEXT_MARKER}\n`.repeat(1000));
  if (findProgram('mke2fs') === null) {
    const line = (/** @type {number} */ number) => `${String(number).padStart(12, '0')} ${PLAINTEXT_MARKER}\n`;
    writeFileSync(image, Array.from({ length: 200_000 }, (_, number) => line(number)).join(''));
    truncateSync(image, sizeBytes);
    return { image, isFileSystem: false, files: 1, command: 'mke2fs', problem: '' };
  }
  const args = ['-q', '-F', '-t', 'ext4', '-L', 'galleon', '-d', tree, image, `${sizeBytes / 1024}k`];
  const result = await runCommand('mke2fs', args, { env: { ...process.env, PATH: fullPath() } });
  const files = readdirSync(tree, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).length;
  const problem = result.status === 0 ? '' : result.stderr;
  return { image, isFileSystem: true, files, command: `mke2fs ${args.join(' ')}`, problem };
}

/**
 * The client that carries images in and out, or null when the machine has none.
 * @returns {{ copyIn: (image: string, uri: string) => string[], copyOut: (uri: string, image: string) => string[] } | null}
 */
export function stockClient() {
  if (findProgram('nbdcopy') !== null) {
    return {
      copyIn: (image, uri) => ['nbdcopy', '--flush', image, uri],
      copyOut: (uri, image) => ['nbdcopy', uri, image],
    };
  }
  if (findProgram('qemu-img') !== null) {
    return {
      copyIn: (image, uri) => ['qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', image, uri],
      copyOut: (uri, image) => ['qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, image],
    };
  }
  return null;
}

/** @param {string} path @returns {Promise<string>} */
export async function sha256(path) {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece);
  return hash.digest('hex');
}

/**
 * How many files under a folder hold these words.
 * @param {string} folder
 * @param {string} words
 * @returns {Promise<{ bytesRead: number, found: string[] }>}
 */
export async function findPlaintext(folder, words) {
  const found = [];
  let bytesRead = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    try {
      bytesRead += statSync(path).size;
      if (await holds(path, Buffer.from(words))) found.push(path);
    } catch (thrown) {
      // A daemon at work removes files too; anything else means that we have not looked.
      if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT')) throw thrown;
    }
  }
  return { bytesRead, found };
}

/** @param {string} path @param {Buffer} words */
async function holds(path, words) {
  let before = Buffer.alloc(0);
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) {
    const window = Buffer.concat([before, piece]);
    if (window.includes(words)) return true;
    before = Buffer.from(window.subarray(Math.max(0, window.length - words.length)));
  }
  return false;
}

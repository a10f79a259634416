import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileError } from '../../src/io/file-error.js';
import type { FileId, OpenMode } from '../../src/io/files.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { pattern } from './kernel-fixture.js';

const files = new NativeFiles();
let folder = '';
const opened = new Set<FileId>();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'galleon-files-'));
});

afterEach(async () => {
  for (const file of opened) await files.close(file);
  opened.clear();
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);

async function open(path: string, mode: OpenMode): Promise<FileId> {
  const file = await files.open(path, mode);
  opened.add(file);
  return file;
}

/** The fault's code of a rejection that must come. */
async function codeOf(attempt: Promise<unknown>): Promise<string> {
  const thrown: unknown = await attempt.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (!(thrown instanceof FileError)) throw thrown;
  return thrown.code;
}

describe('names', () => {
  it('creates a file once, readable by its owner only', async () => {
    await open(at('a'), 'create');
    expect(statSync(at('a')).mode & 0o777).toBe(0o600);
    expect(await codeOf(files.open(at('a'), 'create'))).toBe('EXISTS');
  });

  it('says NOT_FOUND of what is not there', async () => {
    expect(await codeOf(files.open(at('a'), 'read'))).toBe('NOT_FOUND');
    expect(await codeOf(files.open(at('a'), 'write'))).toBe('NOT_FOUND');
    expect(await codeOf(files.remove(at('a')))).toBe('NOT_FOUND');
    expect(await codeOf(files.readFile(at('a')))).toBe('NOT_FOUND');
    expect(await codeOf(files.list(at('a')))).toBe('NOT_FOUND');
    expect(await codeOf(files.syncDirectory(at('a')))).toBe('NOT_FOUND');
    expect(await codeOf(files.lock(at('a/b')))).toBe('NOT_FOUND');
    expect(await files.exists(at('a'))).toBe(false);
  });

  it('names the errno of anything else', async () => {
    writeFileSync(at('file'), '');
    const thrown: unknown = await files.list(at('file')).catch((reason: unknown) => reason);
    expect((thrown as FileError).fault).toEqual({ code: 'IO', path: at('file'), errno: 'ENOTDIR' });
    expect(await codeOf(files.syncDirectory(at('file')))).toBe('IO');
  });

  it('makes folders with their parents, lists sorted, renames, removes', async () => {
    await files.makeDirectory(at('x/y'));
    await files.makeDirectory(at('x/y'));
    expect(statSync(at('x')).mode & 0o777).toBe(0o700);
    for (const name of ['b', 'a', 'c']) await open(at(`x/y/${name}`), 'create');
    expect(await files.list(at('x/y'))).toEqual(['a', 'b', 'c']);
    await files.rename(at('x/y/a'), at('x/y/d'));
    await files.remove(at('x/y/b'));
    await files.syncDirectory(at('x/y'));
    expect(await files.list(at('x/y'))).toEqual(['c', 'd']);
    expect(await files.exists(at('x/y/d'))).toBe(true);
  });

  it('replaces a file whole, with the mode asked for, and leaves nothing beside it', async () => {
    writeFileSync(at('key.new'), 'left by a crash', { mode: 0o644 });
    await files.replaceFile(at('key'), pattern(1000), 0o600);
    await files.replaceFile(at('key'), pattern(500), 0o640);
    expect(Buffer.compare(await files.readFile(at('key')), pattern(500))).toBe(0);
    expect(statSync(at('key')).mode & 0o777).toBe(0o640);
    expect(readdirSync(folder)).toEqual(['key']);
  });

  it('keeps the old content when a file cannot be replaced', async () => {
    mkdirSync(at('key'));
    writeFileSync(at('key/inside'), 'old');
    expect(await codeOf(files.replaceFile(at('key'), pattern(10), 0o600))).toMatch(/IO|EXISTS/);
    expect(readdirSync(folder)).toEqual(['key']);
    expect(readFileSync(at('key/inside'), 'utf8')).toBe('old');
  });

  it('reports room', async () => {
    const space = await files.space(folder);
    expect(space.totalBytes).toBeGreaterThan(0);
    expect(space.freeBytes).toBeLessThanOrEqual(space.totalBytes);
  });
});

describe('bytes', () => {
  it('writes and reads at offsets, in pieces, and short at the end', async () => {
    const file = await open(at('f'), 'create');
    const bytes = pattern(3 * 1024 * 1024 + 17);
    await files.write(file, 100, bytes);
    expect(await files.sizeBytes(file)).toBe(100 + bytes.length);
    const into = new Uint8Array(bytes.length + 50).fill(0xee);
    expect(await files.read(file, 100, into, 10, bytes.length + 40)).toBe(bytes.length);
    expect(Buffer.compare(into.subarray(10, 10 + bytes.length), bytes)).toBe(0);
    expect(into[9]).toBe(0xee);
    expect(into[10 + bytes.length]).toBe(0xee);
    expect(await files.read(file, 1 << 30, into, 0, 10)).toBe(0);
    expect(await files.read(file, 0, into, 0, 0)).toBe(0);
  });

  it('refuses a range outside the bytes, as a mistake', async () => {
    const file = await open(at('f'), 'create');
    await expect(files.read(file, 0, new Uint8Array(10), 5, 6)).rejects.toThrow(RangeError);
    await expect(files.read(file, -1, new Uint8Array(10), 0, 6)).rejects.toThrow(RangeError);
    await expect(files.fillZeros(file, Number.NaN, 6)).rejects.toThrow(RangeError);
  });

  it('allocates, fills, punches and truncates', async () => {
    const file = await open(at('f'), 'create');
    await files.allocate(file, 0, 4 * 1024 * 1024);
    expect(await files.sizeBytes(file)).toBe(4 * 1024 * 1024);
    expect(statSync(at('f')).blocks * 512).toBeGreaterThanOrEqual(4 * 1024 * 1024);
    await files.write(file, 0, pattern(3 * 1024 * 1024));
    await files.fillZeros(file, 4096, 2 * 1024 * 1024 + 5);
    await files.punch(file, 3 * 1024 * 1024 - 4096, 4096);
    const bytes = readFileSync(at('f'));
    const expected = new Uint8Array(4 * 1024 * 1024);
    expected.set(pattern(3 * 1024 * 1024));
    expected.fill(0, 4096, 4096 + 2 * 1024 * 1024 + 5);
    expected.fill(0, 3 * 1024 * 1024 - 4096);
    expect(Buffer.compare(bytes, expected)).toBe(0);
    await files.truncate(file, 5000);
    expect(await files.sizeBytes(file)).toBe(5000);
    // A range past the end is nothing to give back, and the file does not grow by it.
    await files.punch(file, 1 << 20, 4096);
    expect(await files.sizeBytes(file)).toBe(5000);
  });

  it('syncs, writes back, drops and reads ahead', async () => {
    const file = await open(at('f'), 'create');
    await files.write(file, 0, pattern(100_000));
    await files.writeback(file, 0, 100_000);
    await files.sync(file);
    await files.dropCache(file, 0, 0);
    await files.readAhead(file, 0, 1 << 20);
    expect(Buffer.compare(readFileSync(at('f')), pattern(100_000))).toBe(0);
  });

  it('says NO_SPACE when the disk is full', async () => {
    const file = await open('/dev/full', 'write');
    expect(await codeOf(files.write(file, 0, pattern(10)))).toBe('NO_SPACE');
    expect(await codeOf(files.fillZeros(file, 0, 10))).toBe('NO_SPACE');
  });

  it('names the errno of a range that no file can have', async () => {
    const file = await open(at('f'), 'create');
    const thrown: unknown = await files.allocate(file, 2 ** 52, 4096).catch((reason: unknown) => reason);
    expect((thrown as FileError).fault).toEqual({ code: 'IO', path: at('f'), errno: 'EFBIG' });
  });

  it('runs many operations at once, each with its own outcome', async () => {
    const file = await open(at('f'), 'create');
    await files.write(file, 0, pattern(256 * 1024));
    const reads = Array.from({ length: 256 }, async (_, n) => {
      const into = new Uint8Array(1024);
      expect(await files.read(file, n * 1024, into, 0, 1024)).toBe(1024);
      return into;
    });
    expect(Buffer.compare(Buffer.concat(await Promise.all(reads)), pattern(256 * 1024))).toBe(0);
  });

  it('refuses what its queues cannot hold instead of holding it', async () => {
    const file = await open(at('f'), 'create');
    const outcomes = await Promise.allSettled(Array.from({ length: 8000 }, () => files.sync(file)));
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(outcomes.length);
    for (const { reason } of refused)
      expect((reason as FileError).fault).toMatchObject({ code: 'IO', errno: 'EAGAIN' });
  });
});

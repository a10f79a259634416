import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, expect, test } from 'vitest';
import { LmdbReader } from '../../src/base/lmdb-reader.js';
import { temporaryFolder } from './temporary-folder.js';

const ROWS = 3000;

/** Short, long and very long values: the last lie on pages of their own. */
function valueOf(n: number): Buffer {
  return Buffer.alloc(n % 100 === 0 ? 9000 : n % 300, n % 251);
}

function keyOf(n: number): Buffer {
  return Buffer.from(`key ${String(n).padStart(6, '0')}`);
}

/** The path of a new database of so many rows. */
async function database(): Promise<string> {
  const folder = await temporaryFolder();
  const rows = open<Buffer, Buffer>({
    path: folder,
    overlappingSync: false,
    maxDbs: 1,
    encoding: 'binary',
    keyEncoding: 'binary',
    noSubdir: false,
  });
  await rows.batch(() => {
    for (let n = 0; n < ROWS; n += 1) void rows.put(keyOf(n), valueOf(n));
  });
  await rows.remove(keyOf(7));
  await rows.close();
  return join(folder, 'data.mdb');
}

let reader: LmdbReader | null = null;
afterEach(() => {
  reader?.close();
  reader = null;
});

test('it has every row in order, from any key on, and finds each', async () => {
  const path = await database();
  const before = readFileSync(path);
  reader = LmdbReader.open(path);
  expect(reader.problem).toBe('');
  const keys = [...reader.rows()].map(({ key }) => key.toString());
  const wanted = Array.from({ length: ROWS }, (_, n) => n).filter((n) => n !== 7);
  expect(keys).toEqual(wanted.map((n) => keyOf(n).toString()));
  for (let n = 0; n < ROWS; n += 13) expect(reader.get(keyOf(n))?.equals(valueOf(n))).toBe(true);
  expect(reader.get(keyOf(100))?.length).toBe(9000);
  expect(reader.get(keyOf(7))).toBe(null);
  expect(reader.get(Buffer.from('z'))).toBe(null);
  const [next] = reader.rows(keyOf(7));
  expect(next.key.toString()).toBe(keyOf(8).toString());
  expect(readFileSync(path).equals(before)).toBe(true);
});

test('a file whose pages do not hang together has no rows, and says why', async () => {
  const path = await database();
  const file = openSync(path, 'r+');
  for (let page = 2; page < 100; page += 1) writeSync(file, Buffer.alloc(64, 0xff), 0, 64, 4096 * page);
  closeSync(file);
  reader = LmdbReader.open(path);
  expect(reader.problem).not.toBe('');
  expect([...reader.rows()]).toEqual([]);
});

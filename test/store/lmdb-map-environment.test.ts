import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { LmdbMapEnvironment } from '../../src/store/map/lmdb-map-environment.js';
import { CHECKPOINT_KEY, LAYER_KEYS, leafKey, leavesOf } from '../../src/store/map/map-keys.js';
import { temporaryFolder } from '../base/temporary-folder.js';

// lmdb itself ends the process then: in its native code, or with an exception from a timer that nobody can catch.
it('answers whoever asks a closed database for something', async () => {
  const environment = new LmdbMapEnvironment({ path: await temporaryFolder() });
  await environment.commit([{ key: CHECKPOINT_KEY, value: new Uint8Array(8) }]);
  await environment.close();
  const closed = expect.objectContaining({ name: 'StoreError', code: 'CLOSED' }) as unknown;
  await expect(environment.prefetch([CHECKPOINT_KEY])).rejects.toEqual(closed);
  await expect(environment.commit([{ key: CHECKPOINT_KEY, value: null }])).rejects.toEqual(closed);
  expect(() => environment.get(CHECKPOINT_KEY)).toThrow('the map is closed');
  expect(() => environment.range(LAYER_KEYS.from, LAYER_KEYS.to, 1)).toThrow('the map is closed');
  // Closing is idempotent.
  await environment.close();
});

it('grows beyond the address space that it began with, several times, and is all there afterwards', async () => {
  const path = await temporaryFolder();
  const mapBytes = 64 * 1024;
  const small = new LmdbMapEnvironment({ path, mapBytes });
  const key = (n: number): Uint8Array => leafKey(1, n);
  const value = (n: number): Uint8Array => new Uint8Array(1000).fill(n % 251);
  const rows = 4096;
  const holds = (environment: LmdbMapEnvironment, n: number): boolean =>
    Buffer.compare(environment.get(key(n)) ?? new Uint8Array(0), value(n)) === 0;
  for (let from = 0; from < rows; from += 512) {
    await small.commit(Array.from({ length: 512 }, (_, n) => ({ key: key(from + n), value: value(from + n) })));
    // Read across the growth, also what lay in the map before.
    for (const n of [0, from, from + 511]) expect(holds(small, n)).toBe(true);
  }
  await small.close();
  expect((await stat(join(path, 'data.mdb'))).size).toBeGreaterThan(60 * mapBytes);
  // Opened again with less than it needs.
  const again = new LmdbMapEnvironment({ path, mapBytes });
  const { from, to } = leavesOf(1);
  expect(again.range(from, to, 2 * rows)).toHaveLength(rows);
  for (let n = 0; n < rows; n += 1) if (!holds(again, n)) throw new Error(`row ${n} is not what it was`);
  await again.commit([{ key: key(rows), value: value(rows) }]);
  expect(holds(again, rows)).toBe(true);
  await again.close();
});

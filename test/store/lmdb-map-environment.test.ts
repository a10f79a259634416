import { expect, it } from 'vitest';
import { LmdbMapEnvironment } from '../../src/store/map/lmdb-map-environment.js';
import { CHECKPOINT_KEY, LAYER_KEYS } from '../../src/store/map/map-keys.js';
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

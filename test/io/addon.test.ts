import { describe, expect, it } from 'vitest';
import { BLOCK, RECORD } from '../../src/io/record-layout.js';
import { runChild } from './child.js';

describe('the addon', () => {
  it('exports the numbers of the formats', () => {
    expect(RECORD).toMatchObject({ MAGIC: 0x43455247, HEADER_BYTES_AT: 16, PAYLOAD_CRC_AT: 72, EXTENTS_AT: 96 });
    expect(BLOCK).toMatchObject({ HEADER_BYTES: 64, TAG_AT: 12, GENERATION_AT: 48, GENERATION_MAX: 2 ** 48 - 1 });
  });

  it('is found from another working folder', async () => {
    expect((await runChild(new URL('./addon-child.ts', import.meta.url), [], {}, '/')).stdout).toBe('magic 43455247\n');
  });

  it('says what to run when it cannot be loaded', async () => {
    const outcome = await runChild(new URL('./addon-child.ts', import.meta.url), [], {
      GFS_ADDON_PATH: '/nonexistent/node_nbd.node',
    });
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toMatch(
      /^Error: the native addon cannot be loaded; run `npm run build` \(.*nonexistent.*\)$/m,
    );
  });
});

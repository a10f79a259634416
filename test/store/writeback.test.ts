import { describe, expect, it, onTestFinished } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import type { Files } from '../../src/io/files.js';
import { UNWRITTEN_BYTES_MAX } from '../../src/store/limits.js';
import { MIB, perform, StoreWorld } from './store-world.js';

describe('writeback of the journal', () => {
  // What a segment held at its end was once never written back, and counted against the cap for ever: after some
  // gigabytes every write waited for it.
  it('covers every appended byte once, the ends of segments too, so that writes never come to wait for ever', async () => {
    const written = new Map<number, number>();
    let covered = 0;
    const world = await StoreWorld.make({
      files: (real): Files => {
        const { writeback } = real;
        real.writeback = (file, offset, length) => {
          expect(offset).toBeGreaterThanOrEqual(written.get(file) ?? 0);
          written.set(file, offset + length);
          covered += length;
          return writeback.call(real, file, offset, length);
        };
        return real;
      },
    });
    onTestFinished(() => world.destroy());
    await world.open();
    const volume = world.volume(await world.manager.createLayer(4096, 8 * MIB));
    const data = new Uint8Array(192 * 1024).fill(7);
    // Segments of 1 MiB: each ends with a rest that is shorter than a step of writeback.
    for (let bytes = 0; bytes < UNWRITTEN_BYTES_MAX * 1.25; bytes += data.length) {
      await perform(volume, Operation.WRITE, (bytes % (7 * MIB)) - ((bytes % (7 * MIB)) % 4096), data.length, { data });
    }
    // All but what the last segment holds.
    expect((world.store.engine?.journal.appendedBytes ?? 0) - covered).toBeLessThan(MIB);
  });
});

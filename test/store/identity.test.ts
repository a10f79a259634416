import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Operation, RequestFlag } from '../../src/device/block-device.js';
import { BLOCK } from '../../src/io/record-layout.js';
import { RecordKind } from '../../src/store/journal/record.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MapDisk, MemoryMapEnvironment } from './memory-map-environment.js';
import { MIB, perform, StoreWorld } from './store-world.js';
import { VolatileDisk, VolatileFiles } from './volatile-files.js';

describe('over restarts and kills', () => {
  let world: StoreWorld;
  afterEach(async () => {
    await world.destroy();
  });

  async function make(): Promise<void> {
    const map = new MapDisk();
    const disk = new VolatileDisk();
    world = await StoreWorld.make({
      files: () => new VolatileFiles({ disk }),
      openEnvironment: () => new MemoryMapEnvironment({ disk: map }),
    });
    await world.open();
  }

  /** (key number, salt, nonce) of every sealed block in the journal's records. */
  function identities(): string[] {
    const found: string[] = [];
    const folder = join(world.path, 'journal');
    for (const name of readdirSync(folder)) {
      const bytes = readFileSync(join(folder, name));
      for (let at = 4096; at < bytes.length; at += 64) {
        if (bytes.readUInt32LE(at) !== 0x43455247 || bytes.readUInt16LE(at + 6) !== RecordKind.WRITE) continue;
        const end = at + bytes.readUInt32LE(at + 20);
        const blockBytes = 2 ** bytes.readUInt32LE(at + 68);
        for (let block = at + bytes.readUInt32LE(at + 64); block < end; block += blockBytes + blockBytes / 64) {
          const part = (from: number, length: number): string =>
            bytes.subarray(block + from, block + from + length).toString('hex');
          found.push(
            [
              bytes.readUInt32LE(block + BLOCK.KEY_NUMBER_AT),
              part(BLOCK.SALT_AT, BLOCK.SALT_BYTES),
              part(BLOCK.NONCE_AT, BLOCK.NONCE_BYTES),
            ].join(':'),
          );
        }
      }
    }
    return found;
  }

  it('no key ever meets a nonce twice', async () => {
    await make();
    const random = new SeededRandom(11);
    const layers = [await world.manager.createLayer(4096, MIB), await world.manager.createLayer(16384, MIB)];
    const plain = await world.manager.createLayer(4096, MIB);
    const openAll = (): VolumeHandle[] => [...layers.map((layer) => world.volume(layer)), world.volume(plain, null)];
    let written = 0;
    for (let round = 0; round < 6; round += 1) {
      // Opened, closed and opened again within one session: the counters must go on.
      for (let again = 0; again < 3; again += 1) {
        const handles = openAll();
        for (let n = 0; n < 6; n += 1) {
          const handle = handles[random.below(handles.length)];
          const count = 1 + random.below(6);
          await perform(handle, Operation.WRITE, 0, count * handle.blockBytes, {
            data: random.bytes(count * handle.blockBytes),
            flags: random.below(3) === 0 ? RequestFlag.FUA : 0,
          });
          written += count;
        }
        for (const handle of handles) await handle.close();
      }
      if (round % 2 === 0) await world.kill();
      else await world.close();
      await world.open();
    }
    const found = identities();
    expect(found.length).toBe(written);
    expect(new Set(found).size).toBe(found.length);
  });

  it('a start that writes nothing eats no segment of disk', async () => {
    await make();
    const layer = await world.manager.createLayer(4096, MIB);
    await perform(world.volume(layer), Operation.WRITE, 0, 4096, { data: new Uint8Array(4096).fill(5) });
    for (let n = 0; n < 40; n += 1) {
      if (n % 2 === 0) await world.kill();
      else await world.close();
      await world.open();
    }
    const data = new Uint8Array(4096);
    await perform(world.volume(layer), Operation.READ, 0, 4096, { data });
    expect(data.every((byte) => byte === 5)).toBe(true);
    const names = readdirSync(join(world.path, 'journal'));
    expect(names.length).toBeLessThan(12);
    // What the first run did not use of its segment went back.
    expect(statSync(join(world.path, 'journal', names[0])).size).toBeLessThan(MIB);
  });
});

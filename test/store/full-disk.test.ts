import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { Operation, type DeviceFault } from '../../src/device/block-device.js';
import { FileError } from '../../src/io/file-error.js';
import { InnerRequest } from '../../src/volume/inner-request.js';
import type { LayerId, VolumeHandle } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { faultyFiles } from './faulty-files.js';
import { LeapingClock } from './hasty-clock.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const random = new SeededRandom(8);

async function write(handle: VolumeHandle, offset: number, length: number): Promise<string> {
  const data = random.bytes(length);
  try {
    await perform(handle, Operation.WRITE, offset, length, { data });
    return 'written';
  } catch (thrown) {
    return (thrown as Error).message;
  }
}

/** Writes until the disk is full; returns the bytes that were acknowledged. */
async function fill(handle: VolumeHandle): Promise<number> {
  for (let at = 0; at + 128 * 1024 <= handle.sizeBytes; at += 128 * 1024) {
    const outcome = await write(handle, at, 128 * 1024);
    if (outcome === 'FULL') return at;
    expect(outcome).toBe('written');
  }
  throw new Error('the disk took everything');
}

async function checksum(handle: VolumeHandle, length: number): Promise<string> {
  const data = new Uint8Array(length);
  for (let at = 0; at < length; at += MIB) {
    const step = Math.min(MIB, length - at);
    await perform(handle, Operation.READ, at, step, { data: data.subarray(at, at + step) });
  }
  return Buffer.from(data).toString('base64');
}

describe('a full disk', () => {
  let world: StoreWorld;
  let rejections: unknown[] = [];
  const onRejection = (reason: unknown): void => {
    rejections.push(reason);
  };

  afterEach(async () => {
    await world.destroy();
    process.off('unhandledRejection', onRejection);
    expect(rejections).toEqual([]);
    rejections = [];
  });

  /** What must work on a full disk, and after it. */
  async function survive(free: () => void): Promise<void> {
    process.on('unhandledRejection', onRejection);
    const layer = await world.manager.createLayer(4096, 64 * MIB);
    const handle = world.volume(layer);
    const written = await fill(handle);
    expect(written).toBeGreaterThan(MIB);
    const before = await checksum(handle, written);
    // Data is refused again and again; trims, verbs, flushes and checkpoints are not.
    for (let n = 0; n < 20; n += 1) {
      await perform(handle, Operation.TRIM, 48 * MIB + n * 4096, 4096);
      await perform(handle, Operation.WRITE_ZEROES, 4096 * n, 4096);
      expect(await write(handle, 32 * MIB, MIB)).toBe('FULL');
    }
    // Who is told may submit the next in the same turn, and is told of that as well.
    const faults = await new Promise<(string | undefined)[]>((resolve) => {
      const told: (string | undefined)[] = [];
      const submit = (): void => {
        const done = (fault: DeviceFault | null): void => {
          told.push(fault?.code);
          if (told.length === 5) resolve(told);
          else submit();
        };
        handle.submit(new InnerRequest(Operation.WRITE, 32 * MIB, 4096, done, { data: random.bytes(4096), flags: 0 }));
      };
      submit();
    });
    expect(faults).toEqual(Array.from({ length: 5 }, () => 'FULL'));
    await perform(handle, Operation.FLUSH, 0, 0);
    await world.manager.checkpoint();
    const extra = await world.manager.createLayer(4096, MIB);
    await world.manager.dropLayer(extra);
    await world.manager.checkpoint();
    const after = await checksum(handle, written);
    expect(after.slice(-1000)).toBe(before.slice(-1000));
    // A restart works on the full disk too, more than once.
    for (let n = 0; n < 4; n += 1) {
      if (n % 2 === 0) await world.kill();
      else await world.close();
      await world.open();
      const again = world.volume(layer);
      expect(await checksum(again, written)).toBe(after);
      await perform(again, Operation.TRIM, 40 * MIB, 4096);
    }
    free();
    const again = world.volume(1 as LayerId);
    let outcome = await write(again, 32 * MIB, MIB);
    // The first one may still be told what was known before.
    for (let n = 0; n < 20 && outcome !== 'written'; n += 1) outcome = await write(again, 32 * MIB, MIB);
    expect(outcome).toBe('written');
    await world.manager.checkpoint();
  }

  it('refuses data, keeps what it has, and can be emptied', async () => {
    let free = false;
    const taken = new Set<string>();
    let room = 12;
    world = await StoreWorld.make({
      clock: new LeapingClock(),
      files: (real) =>
        faultyFiles(real, (name, path) => {
          // The disk takes a dozen segments; what a file has already, it keeps, and the rest of an old tail comes back.
          if (name === 'truncate' && taken.has(path)) room += 1;
          if (name !== 'allocate' || !path.includes('segment-') || taken.has(path)) return null;
          if (taken.size >= room && !free) return new FileError('full', { code: 'NO_SPACE', path });
          taken.add(path);
          return null;
        }),
    });
    await world.open();
    await survive(() => (free = true));
  });

  it('that is real: a small file system', async (context) => {
    const mount = mkdtempSync(join(tmpdir(), 'galleon-full-'));
    onTestFinished(() => {
      rmSync(mount, { recursive: true, force: true });
    });
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=96m', 'tmpfs', mount], { stdio: 'pipe' });
    } catch {
      context.skip('needs the right to mount a tmpfs');
    }
    onTestFinished(() => {
      execFileSync('umount', ['-l', mount]);
    });
    world = await StoreWorld.make({ clock: new LeapingClock(), folder: mount });
    await world.open();
    const ballast = join(mount, 'ballast');
    // Half of it is somebody else's.
    execFileSync('fallocate', ['-l', '12M', ballast]);
    await survive(() => {
      rmSync(ballast);
    });
  });
});

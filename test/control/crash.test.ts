import { describe, expect, it } from 'vitest';
import { type Act, crashEverywhere, expectWhole } from './crash-everywhere.js';
import { FakeWorld, request, TESTER } from './fake-world.js';

const nothing: Act = () => Promise.resolve();
const createWeb: Act = (plane) => plane.volumes.create(request('web'), TESTER);

describe('a crash at every step', () => {
  it('of a creation leaves the whole volume or nothing', async () => {
    const steps = await crashEverywhere(nothing, createWeb, (plane) => {
      const [volume, ...more] = plane.volumes.list({}, false);
      expect(more).toEqual([]);
      if (volume !== undefined) expect(volume).toMatchObject({ name: 'web', state: 'available', encrypted: true });
    });
    expect(steps).toBe(5); // note, vault file, key record, layer, row
  });

  it('of a deletion under Retain leaves it live or retained, with its data', async () => {
    await crashEverywhere(
      createWeb,
      (plane) => plane.volumes.delete('web', false, TESTER),
      (plane, world) => {
        const all = [...plane.volumes.list({}, false), ...plane.volumes.list({}, true)];
        expect(all.map((volume) => volume.name)).toEqual(['web']);
        expect(world.host.store.size).toBe(1);
      },
    );
  });

  it('of a forced deletion leaves it whole or gone', async () => {
    const steps = await crashEverywhere(
      createWeb,
      (plane) => plane.volumes.delete('web', true, TESTER),
      (plane) => {
        for (const volume of plane.volumes.list({}, false)) expect(volume.state).toBe('available');
        expect(plane.volumes.list({}, true)).toEqual([]);
      },
    );
    expect(steps).toBe(6); // row, key record, scrub, key file, layer, row
  });

  it('of a restoration leaves it retained or live', async () => {
    await crashEverywhere(
      async (plane) => {
        await createWeb(plane);
        await plane.volumes.delete('web', false, TESTER);
      },
      (plane) => plane.volumes.restore('web', 'web2', TESTER),
      (plane) => {
        const all = [...plane.volumes.list({}, false), ...plane.volumes.list({}, true)];
        expect(all.map((volume) => volume.name)).toHaveLength(1);
      },
    );
  });

  it('of an expansion shows the size that the layer has', async () => {
    await crashEverywhere(
      createWeb,
      (plane) => plane.volumes.expand('web', 2 * 1024 * 1024, false, TESTER),
      (plane, world) => {
        expect(plane.volumes.get('web', false).sizeBytes).toBe(world.host.layers()[0].sizeBytes);
      },
    );
  });

  it('of an import leaves the whole volume or nothing', async () => {
    await crashEverywhere(
      nothing,
      async (plane) => {
        const session = await plane.volumes.beginImport(request('image'), TESTER);
        await session.write(8192, new Uint8Array(4096).fill(7));
        await session.complete();
      },
      (plane, world) => {
        const volumes = plane.volumes.list({}, false);
        if (volumes.length > 0) expect(volumes[0]).toMatchObject({ name: 'image', allocatedBytes: 4096 });
        expect(world.host.store.size).toBe(volumes.length);
      },
    );
  });

  it('of a start is mended by the next one', async () => {
    const prepared = async (): Promise<FakeWorld> => {
      const world = new FakeWorld();
      const plane = await world.start();
      await plane.volumes.create(request('keep'), TESTER);
      await plane.volumes.create(request('scratch', { volumeType: 'ephemeral' }), TESTER);
      world.crash.arm(3, false);
      await plane.volumes.create(request('half'), TESTER).catch(() => undefined);
      world.kill();
      return world;
    };
    const counting = await prepared();
    await (await counting.start()).close();
    const steps = counting.crash.steps.length;
    expect(steps).toBeGreaterThan(5);
    for (let step = 0; step < steps; step += 1) {
      const world = await prepared();
      world.crash.arm(step, false);
      await world.start().catch(() => undefined);
      world.kill();
      const plane = await world.start();
      await expectWhole(world, plane);
      expect(plane.volumes.list({}, false).map((volume) => volume.name)).toEqual(['keep']);
      await plane.close();
    }
  });

  it('never gives the number of a data key twice', async () => {
    const world = new FakeWorld();
    const dying = await world.start();
    // The key's file is there, its record is not: only the file knows that 1 was used.
    world.crash.arm(1, false);
    await createWeb(dying).catch(() => undefined);
    world.kill();
    const plane = await world.start();
    expect(world.vault.files.size).toBe(0);
    await createWeb(plane);
    expect([...world.vault.files.keys()]).toEqual([2]);
    await plane.close();
  });
});

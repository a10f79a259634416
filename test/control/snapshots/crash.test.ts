import { describe, expect, it } from 'vitest';
import type { ControlPlane } from '../../../src/control/control-plane.js';
import { type Act, crashEverywhere } from '../crash-everywhere.js';
import { request, TESTER, type FakeWorld } from '../fake-world.js';
import { readBlocks, writeBlock } from './blocks.js';

const wish = { name: 'monday', labels: {} };
const createWeb: Act = (plane) => plane.volumes.create(request('web'), TESTER);
const snapWeb: Act = async (plane) => {
  await createWeb(plane);
  await plane.snapshots.create(['web'], wish, TESTER);
};
const namesOf = async (plane: ControlPlane): Promise<string[]> =>
  (await plane.snapshots.list('', {})).map((view) => `${view.volume}@${view.name}`);

/** The volume can be written and snapshotted: whatever the crash left, it is whole. */
async function expectWorks(world: FakeWorld, plane: ControlPlane, volume: string): Promise<void> {
  await writeBlock(world, plane, volume, 3, 9);
  await plane.snapshots.create([volume], { name: 'afterwards', labels: {} }, TESTER);
  expect((await readBlocks(world, plane, volume))[3]).toBe(9);
}

describe('a crash at every step', () => {
  it('of a snapshot leaves it, or the volume without it', async () => {
    const steps = await crashEverywhere(
      createWeb,
      (plane) => plane.snapshots.create(['web'], wish, TESTER),
      async (plane, world) => {
        expect([[], ['web@monday']]).toContainEqual(await namesOf(plane));
        await expectWorks(world, plane, 'web');
      },
    );
    expect(steps).toBe(2); // freeze, rows
  });

  it('of a group leaves all of its snapshots or none', async () => {
    await crashEverywhere(
      async (plane) => {
        for (const name of ['a', 'b', 'c']) await plane.volumes.create(request(name), TESTER);
      },
      (plane) => plane.snapshots.create(['a', 'b', 'c'], wish, TESTER),
      async (plane) => {
        expect([0, 3]).toContain((await namesOf(plane)).length);
      },
    );
  });

  it('of a clone leaves the whole volume or nothing', async () => {
    const steps = await crashEverywhere(
      snapWeb,
      (plane) => plane.volumes.clone('web@monday', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER),
      async (plane, world) => {
        expect(await namesOf(plane)).toEqual(['web@monday']);
        for (const { name } of plane.volumes.list({}, false)) await expectWorks(world, plane, name);
      },
    );
    expect(steps).toBe(5); // note, vault file, key record, layer, row
  });

  it('of a clone of a volume as it is leaves at most the snapshot that it needed', async () => {
    await crashEverywhere(
      createWeb,
      (plane) => plane.volumes.clone('web', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER),
      async (plane) => {
        const left = (await plane.snapshots.list('', {})).map(({ origin }) => origin);
        expect([[], ['safety']]).toContainEqual(left);
      },
    );
  });

  it('of a reversion leaves the volume before it or after it, and what it held', async () => {
    const steps = await crashEverywhere(
      snapWeb,
      (plane) => plane.volumes.revert('web@monday', false, TESTER),
      async (plane, world) => {
        const left = await namesOf(plane);
        expect(left[0]).toBe('web@monday');
        expect(left.length).toBeLessThanOrEqual(2);
        await expectWorks(world, plane, 'web');
      },
    );
    // freeze, rows; note, layer, row, old layer, note; the epoch of the new opening
    expect(steps).toBe(8);
  });

  it('of a deletion leaves the snapshot or not, and the volume as it was', async () => {
    await crashEverywhere(
      snapWeb,
      (plane) => plane.snapshots.delete('web@monday', false, TESTER),
      async (plane, world) => {
        expect([[], ['web@monday']]).toContainEqual(await namesOf(plane));
        await expectWorks(world, plane, 'web');
      },
    );
  });

  it('of the deletion of a volume with snapshots leaves all of it or nothing', async () => {
    await crashEverywhere(
      async (plane) => {
        await snapWeb(plane);
        await plane.snapshots.create(['web'], { name: 'tuesday', labels: {} }, TESTER);
      },
      (plane) => plane.volumes.delete('web', true, TESTER, true),
      async (plane, world) => {
        const left = await namesOf(plane);
        expect([0, 2]).toContain(left.length);
        expect(plane.volumes.list({}, false)).toHaveLength(left.length / 2);
        if (left.length === 0) expect(world.host.store.size).toBe(0);
      },
    );
  });

  it('of the deletion of a volume that has a clone leaves the clone whole', async () => {
    await crashEverywhere(
      async (plane) => {
        await snapWeb(plane);
        await plane.volumes.clone('web@monday', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER);
      },
      (plane) => plane.volumes.delete('web', true, TESTER, true),
      async (plane, world) => {
        await expectWorks(world, plane, 'copy');
        expect(world.vault.files.size).toBe(2);
      },
    );
  });

  it('of an export keeps it or not', async () => {
    await crashEverywhere(
      snapWeb,
      (plane) => plane.snapshots.export('web@monday', TESTER),
      async (plane, world) => {
        const { export: exported } = await plane.snapshots.get('web@monday');
        expect(world.exports.offered.size).toBe(exported === null ? 0 : 1);
      },
    );
  });

  const stream = async (plane: ControlPlane, decrypt: boolean, from: string): Promise<Buffer[]> => {
    const pieces: Buffer[] = [];
    for await (const piece of plane.sender.send({ snapshot: 'web@tuesday', from, decrypt }, TESTER)) {
      pieces.push(piece);
    }
    return pieces;
  };
  const receive = async (plane: ControlPlane, pieces: readonly Buffer[]): Promise<unknown> => {
    const receiver = plane.receive(request('copy'), null, TESTER);
    for (const piece of pieces) await receiver.write(piece);
    return receiver.complete();
  };

  const kinds = [
    ['plain', true],
    ['sealed', false],
  ] as const;

  it.each(kinds)('of receiving a %s stream leaves the volume with its snapshot or nothing', async (_, decrypt) => {
    await crashEverywhere(
      async (plane) => {
        await createWeb(plane);
        await plane.snapshots.create(['web'], { name: 'tuesday', labels: {} }, TESTER);
      },
      async (plane) => receive(plane, await stream(plane, decrypt, '')),
      async (plane, world) => {
        const left = await namesOf(plane);
        expect([['web@tuesday'], ['copy@tuesday', 'web@tuesday']]).toContainEqual(left);
        expect(plane.volumes.list({}, false)).toHaveLength(left.length);
        if (left.length === 2) await expectWorks(world, plane, 'copy');
      },
    );
  });

  it.each(kinds)('of receiving a %s difference leaves the volume before it or after it', async (_, decrypt) => {
    await crashEverywhere(
      async (plane) => {
        await snapWeb(plane);
        await plane.volumes.create(request('other'), TESTER);
        const first: Buffer[] = [];
        for await (const piece of plane.sender.send({ snapshot: 'web@monday', from: '', decrypt }, TESTER)) {
          first.push(piece);
        }
        await receive(plane, first);
        await plane.snapshots.create(['web'], { name: 'tuesday', labels: {} }, TESTER);
      },
      async (plane) => receive(plane, await stream(plane, decrypt, 'web@monday')),
      async (plane, world) => {
        const left = (await namesOf(plane)).filter((name) => name.startsWith('copy@'));
        expect([['copy@monday'], ['copy@monday', 'copy@tuesday']]).toContainEqual(left);
        await expectWorks(world, plane, 'copy');
      },
    );
  });
});

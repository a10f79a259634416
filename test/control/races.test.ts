import { describe, expect, it } from 'vitest';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, world } from './each-with-plane.js';
import { request, TESTER } from './fake-world.js';

eachWithPlane();

const CLASS = JSON.stringify({ name: 'mine', provisioner: 'galleon.io/local', parameters: { encryption: false } });

describe('two calls at once', () => {
  it('never delete a class under a volume that is being made with it', async () => {
    await plane.classes.create(CLASS, 'mine.json', TESTER);
    const deleted = plane.classes.delete('mine', TESTER);
    // The deletion has looked for users and is on its way to the disk.
    for (let tick = 0; tick < 3; tick += 1) await Promise.resolve();
    const created = plane.volumes.create(request('web', { storageClass: 'mine' }), TESTER);
    const outcomes = await Promise.allSettled([deleted, created]);
    expect(outcomes.map((outcome) => outcome.status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('delete what was meant: a volume that was renamed meanwhile stays', async () => {
    await plane.volumes.create(request('old'), TESTER);
    const renamed = plane.volumes.rename('old', 'new', TESTER);
    const deleted = plane.volumes.delete('old', true, TESTER);
    await renamed;
    await expect(deleted).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(plane.volumes.get('new', false).state).toBe('available');
  });

  it('delete by id whatever the volume is called by then', async () => {
    const { id } = await plane.volumes.create(request('old'), TESTER);
    const renamed = plane.volumes.rename('old', 'new', TESTER);
    const deleted = plane.volumes.delete(id.slice(0, 8), true, TESTER);
    await renamed;
    expect(await deleted).toMatchObject({ outcome: 'purged', name: 'new' });
  });
});

describe('names', () => {
  it('never look like the id of another volume, whichever verb gives them', async () => {
    const { id } = await plane.volumes.create(request('one'), TESTER);
    await plane.volumes.create(request('two'), TESTER);
    await expect(plane.volumes.rename('two', id, TESTER)).rejects.toMatchObject({ code: 'INVALID' });
    await plane.volumes.delete('two', false, TESTER);
    await expect(plane.volumes.restore('two', id, TESTER)).rejects.toMatchObject({ code: 'INVALID' });
  });
});

describe('what is tried again', () => {
  it('waits longer each time, also for a deletion', async () => {
    await plane.volumes.create(request('web'), TESTER);
    world.host.failDrop = 'the disk does not answer';
    await plane.volumes.delete('web', true, TESTER);
    const delays: number[] = [];
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const { nextTryMs } = plane.problems()[0];
      delays.push(nextTryMs - world.clock.wallMs());
      await world.advance(nextTryMs - world.clock.wallMs());
    }
    expect(delays).toEqual([1000, 2000, 4000, 8000]);
    world.host.failDrop = null;
    await world.advance(60_000);
    expect(plane.problems()).toEqual([]);
    expect(world.host.store.size).toBe(0);
  });

  it('is a volume that came while the store was reopening', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.delete('web', false, TESTER);
    const layers = world.host.layers.bind(world.host);
    world.host.layers = () => [];
    world.host.state = 'reopening';
    await plane.volumes.restore('web', '', TESTER);
    world.host.layers = layers;
    world.host.state = 'ready';
    await world.advance(2000);
    await settle();
    expect(plane.volumes.get('web', false).state).toBe('available');
  });
});

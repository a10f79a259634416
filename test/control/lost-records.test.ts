import { describe, expect, it } from 'vitest';
import { MemoryMetaStore } from '../../src/meta/memory-meta-store.js';
import type { MetaStore } from '../../src/meta/meta-store.js';
import { MetaError } from '../../src/meta/meta-error.js';
import { FakeWorld, request, TESTER } from './fake-world.js';

const FAST = { storageClass: 'fast-local-ssd' };

/** What `meta/` held at this moment, to be put back later. */
async function copyOfMeta(meta: MetaStore): Promise<Map<string, Uint8Array>> {
  const { entries } = await meta.list('');
  return new Map(entries.map(({ key, value }) => [key, value]));
}

/** The same layers and key files beside an older copy of the records. */
async function withMeta(world: FakeWorld, records: Map<string, Uint8Array>): Promise<FakeWorld> {
  const next = new FakeWorld();
  const meta = new MemoryMetaStore({}, { clock: next.clock });
  for (const [key, value] of records) await meta.transaction({ set: [{ key, value }] });
  const { host, vault } = world;
  world.kill();
  // A process never draws what another drew.
  next.random.bytes(4096);
  return Object.assign(next, { host, vault, meta: Object.assign(meta, { transactions: 0 }) });
}

describe('layers and keys that no record names', () => {
  it.each([['encrypted', {}] as const, ['plain', FAST] as const])(
    'stay when meta/ is an older copy (%s)',
    async (_name, fields) => {
      const world = new FakeWorld();
      const plane = await world.start();
      await plane.volumes.create(request('old', fields), TESTER);
      const copy = await copyOfMeta(world.meta);
      await plane.volumes.create(request('new', fields), TESTER);
      const keys = world.vault.files.size;
      await plane.close();

      const restored = await withMeta(world, copy);
      for (let start = 0; start < 2; start += 1) {
        const again = await restored.start();
        expect(again.volumes.list({}, false).map(({ name, state }) => [name, state])).toEqual([['old', 'available']]);
        expect(restored.host.store.size).toBe(2);
        expect(restored.vault.files.size).toBe(keys);
        expect(again.problems()).toMatchObject([{ subject: 'meta' }]);
        await again.close();
      }
    },
  );

  it('stay when the record of a volume is gone without a trace', async () => {
    const world = new FakeWorld();
    const plane = await world.start();
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    await world.meta.transaction({ delete: [`control/volume/${id}`, 'control/name/web'] });
    const again = await world.start();
    expect(world.host.store.size).toBe(1);
    expect(world.vault.files.size).toBe(1);
    expect(again.problems()).toMatchObject([{ subject: 'meta' }]);
    await again.close();
  });

  it('stay when the mark of the node is damaged, and the volumes are served', async () => {
    const world = new FakeWorld();
    const plane = await world.start();
    await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    const get = world.meta.get.bind(world.meta);
    world.meta.get = (key) =>
      key === 'control/node'
        ? Promise.reject(new MetaError('the record of control/node is damaged', { code: 'DAMAGED', key }))
        : get(key);
    const again = await world.start();
    expect(again.volumes.get('web', false).state).toBe('available');
    expect(again.problems()).toMatchObject([{ subject: 'record control/node' }]);
    await again.close();
  });
});

describe('a store that was lost or set back', () => {
  it('never gives a new volume the layer that the record of another one names', async () => {
    const world = new FakeWorld();
    const plane = await world.start();
    await plane.volumes.create(request('lost', FAST), TESTER);
    const records = await copyOfMeta(world.meta);
    await plane.close();

    const emptied = await withMeta(new FakeWorld(), records);
    const again = await emptied.start();
    expect(again.volumes.get('lost', false).state).toBe('damaged');
    await again.volumes.create(request('web', FAST), TESTER);
    await again.volumes.delete('lost', true, TESTER);
    expect(emptied.host.store.size).toBe(1);
    expect(again.volumes.get('web', false).state).toBe('available');
    await again.close();
    const third = await emptied.start();
    expect(third.volumes.list({}, false).map(({ name, state }) => [name, state])).toEqual([['web', 'available']]);
    await third.close();
  });
});

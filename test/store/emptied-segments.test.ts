import { describe, expect, it } from 'vitest';
import type { Checkpointer } from '../../src/store/checkpointer.js';
import { EmptiedSegments } from '../../src/store/cleaner/emptied-segments.js';
import type { SegmentFiles } from '../../src/store/journal/segment-files.js';
import type { SegmentPool } from '../../src/store/journal/segment-pool.js';
import { SegmentTable } from '../../src/store/journal/segment-table.js';
import { ManualClock } from '../base/manual-clock.js';
import { Gate } from './gate.js';
import { MIB } from './store-world.js';

function emptiedOf(slots: number) {
  const table = new SegmentTable();
  for (let slot = 0; slot < slots; slot += 1) {
    const numbers = { slot, generation: slot + 1, stampLow: 0, stampHigh: 0, firstSequence: 1 };
    table.put({ ...numbers, state: 'chain', liveBytes: 0, usedBytes: MIB, tier: 0 });
  }
  const checkpoint = new Gate();
  const release = new Gate();
  const clock = new ManualClock();
  const faults: Error[] = [];
  const world = { checkpoints: 0, released: [] as number[] };
  const emptied = new EmptiedSegments(
    { segmentBytes: MIB },
    {
      table,
      clock,
      segmentFiles: { whenUnpinned: () => Promise.resolve() } as unknown as SegmentFiles,
      checkpointer: {
        run: async () => {
          world.checkpoints += 1;
          await checkpoint.pass();
          const fault = faults.pop();
          if (fault !== undefined) throw fault;
        },
      } as unknown as Checkpointer,
      pool: {
        release: async (free: readonly number[]) => {
          await release.pass();
          for (const slot of free) table.free(slot);
          world.released.push(...free);
        },
        refill: () => undefined,
      } as unknown as SegmentPool,
    },
  );
  const add = (slot: number, copiedBytes = 0): void =>
    emptied.add(slot, { generation: table.generations[slot], copiedBytes });
  return { emptied, add, table, checkpoint, release, clock, faults, world };
}

describe('emptied segments', () => {
  it('wait for a checkpoint that began after they were emptied', async () => {
    const { emptied, add, checkpoint, world } = emptiedOf(4);
    add(0);
    checkpoint.shut();
    emptied.begin();
    await checkpoint.held();
    add(1);
    emptied.begin();
    expect(world.checkpoints).toBe(1);
    checkpoint.open();
    await emptied.freed();
    expect(world.released).toEqual([0]);
    expect(emptied.slots()).toEqual([1]);
    await emptied.free();
    expect(world.checkpoints).toBe(2);
    expect(world.released).toEqual([0, 1]);
    expect(emptied.size).toBe(0);
  });

  it('are not victims again before the table has them as free', async () => {
    const { emptied, add, release, table } = emptiedOf(2);
    add(0);
    add(1);
    release.shut();
    emptied.begin();
    await release.held();
    expect(emptied.slots()).toEqual([0, 1]);
    release.open();
    await emptied.freed();
    expect(emptied.slots()).toEqual([]);
    expect(table.state(0)).toBe('free');
  });

  it('stay when a checkpoint fails, which is told to who waits, and the next try frees them', async () => {
    const { emptied, add, checkpoint, faults, world } = emptiedOf(1);
    add(0);
    faults.push(new Error('no checkpoint'));
    checkpoint.shut();
    emptied.begin();
    const told = expect(emptied.freed()).rejects.toThrow('no checkpoint');
    checkpoint.open();
    await told;
    expect(emptied.slots()).toEqual([0]);
    await emptied.free();
    expect(world.released).toEqual([0]);
  });

  it('know what freeing them gains', async () => {
    const { emptied, add, clock } = emptiedOf(2);
    emptied.startGain();
    add(0, 0.75 * MIB);
    add(1, 0.5 * MIB);
    clock.advance(100);
    await emptied.free();
    expect(emptied.gainBytesPerSecond).toBe(7.5 * MIB);
  });

  it('write no checkpoint for nothing', async () => {
    const { emptied, world } = emptiedOf(1);
    await emptied.free();
    emptied.begin();
    await emptied.freed();
    expect(world.checkpoints).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.js';
import type { FileId } from '../../src/io/files.js';
import { ColdSegment, type ColdSegmentDependencies } from '../../src/store/cleaner/cold-segment.js';
import { SegmentTable } from '../../src/store/journal/segment-table.js';
import { Gate } from './gate.js';
import { MIB } from './store-world.js';

const EIO = new Error('EIO');

/** A segment stream over files that do nothing but say what was asked of them. */
function worldOf() {
  const table = new SegmentTable();
  for (let slot = 0; slot < 4; slot += 1) {
    const numbers = { slot, generation: slot + 1, stampLow: 0, stampHigh: 0, firstSequence: 0 };
    table.put({ ...numbers, state: 'ready', liveBytes: 0, usedBytes: 0, tier: 0 });
  }
  const calls: string[] = [];
  const pins = new Map<number, number>();
  const writes = new Gate();
  const world = { table, calls, pins, writes, failing: '' };
  const call = (what: string, file: number): void => {
    calls.push(`${what} ${file}`);
    if (world.failing === what) throw EIO;
  };
  let taken = -1;
  const pin = (slot: number, by: number): void => void pins.set(slot, (pins.get(slot) ?? 0) + by);
  const dependencies = {
    files: {
      write: async (file: number, offset: number) => {
        if (offset > 0) await writes.pass();
        call(offset > 0 ? 'write' : 'head', file);
      },
      writeback: async (file: number) => call('writeback', file),
      sync: async (file: number) => call('sync', file),
    },
    segmentFiles: {
      open: async (slot: number) => slot as FileId,
      pin: (slot: number) => pin(slot, 1),
      unpin: (slot: number) => pin(slot, -1),
    },
    table,
    pool: { take: async () => (taken += 1) },
    checksums: { crc32c: (bytes: Uint8Array, at: number, length: number) => crc32c(bytes.subarray(at, at + length)) },
    register: async () => undefined,
  } as unknown as ColdSegmentDependencies;
  const options = { tier: 1, segmentBytes: 64 * MIB, nodeId: new Uint8Array(16), use: 'moving' } as const;
  return { ...world, world, segment: new ColdSegment(options, dependencies) };
}

const record = new Uint8Array(4096);

describe('a segment for moved blocks', () => {
  it('that is left is synced with the next one, and kept open until then', async () => {
    const { segment, pins, calls, table } = worldOf();
    await segment.open();
    void segment.write(record);
    segment.leave();
    await segment.open();
    void segment.write(record);
    expect([segment.holds(0), segment.holds(1), segment.slot]).toEqual([true, true, 1]);
    expect([pins.get(0), table.row(0).usedBytes]).toEqual([1, 0]);

    await segment.sync();

    expect(calls.filter((each) => each.startsWith('sync'))).toEqual(['sync 0', 'sync 1']);
    expect(calls.indexOf('write 0')).toBeLessThan(calls.indexOf('sync 0'));
    expect([pins.get(0), pins.get(1), segment.holds(0)]).toEqual([0, 1, false]);
    expect(table.row(0).usedBytes).toBe(table.row(1).usedBytes);
    segment.close();
    expect(pins.get(1)).toBe(0);
  });

  it('does not say that it is durable when one of several writes failed', async () => {
    const { segment, world, pins, calls, table } = worldOf();
    await segment.open();
    void segment.write(record);
    await segment.settled();
    world.failing = 'write';
    await segment.write(record);
    world.failing = '';
    void segment.write(record);
    segment.leave();
    await segment.open();

    await expect(segment.sync()).rejects.toThrow('EIO');

    expect(calls.filter((each) => each.startsWith('sync'))).toEqual([]);
    expect(table.row(0).usedBytes).toBe(0);
    segment.close();
    expect([pins.get(0), pins.get(1)]).toEqual([0, 0]);
    // What failed was of the ones before.
    await segment.open();
    void segment.write(record);
    await segment.sync();
    expect(table.row(2).usedBytes).toBeGreaterThan(0);
  });

  it('lets go of everything when a sync fails', async () => {
    const { segment, world, pins, table } = worldOf();
    await segment.open();
    void segment.write(record);
    segment.leave();
    await segment.open();
    world.failing = 'sync';
    await expect(segment.sync()).rejects.toThrow('EIO');
    segment.close();
    expect([pins.get(0), pins.get(1), table.row(0).usedBytes]).toEqual([0, 0, 0]);
  });

  it('settles only when every write has ended, and asks nothing of a file once it is closed', async () => {
    const { segment, writes, calls } = worldOf();
    await segment.open();
    writes.shut();
    void segment.write(record);
    let settled = false;
    const ended = segment.settled().then(() => (settled = true));
    await writes.held();
    expect(settled).toBe(false);
    writes.open();
    await ended;
    expect(calls).toContain('write 0');
    const before = calls.length;
    segment.close();
    await segment.settled();
    expect(calls).toHaveLength(before);
  });
});

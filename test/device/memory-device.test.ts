import { describe, expect, it } from 'vitest';
import { Operation, RequestFlag, type DeviceFault } from '../../src/device/block-device.js';
import { DeviceError } from '../../src/device/device-error.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { NullDevice } from '../../src/device/null-device.js';
import { SeededRandom } from '../base/seeded-random.js';

const SIZE = 1 << 20;

interface Wanted {
  readonly operation: Operation;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly flags?: number;
  readonly data?: Uint8Array;
  readonly dataOffset?: number;
}

/** Submits one request; answers its fault, 'open' if it is not done. */
function ask(device: MemoryDevice | NullDevice, wanted: Wanted): DeviceFault['code'] | null | 'open' {
  let answer: DeviceFault['code'] | null | 'open' = 'open';
  device.submit({
    flags: 0,
    data: new Uint8Array(0),
    dataOffset: 0,
    ...wanted,
    done: (fault) => {
      answer = fault === null ? null : fault.code;
    },
  });
  return answer;
}

function readBack(device: MemoryDevice, offsetBytes: number, lengthBytes: number): Uint8Array {
  const data = new Uint8Array(lengthBytes + 3).fill(0xee);
  expect(ask(device, { operation: Operation.READ, offsetBytes, lengthBytes, data, dataOffset: 2 })).toBeNull();
  expect([data[0], data[1], data.at(-1)]).toEqual([0xee, 0xee, 0xee]);
  return data.subarray(2, 2 + lengthBytes);
}

describe('MemoryDevice', () => {
  it.each([4096, 65536])('equals an array of bytes after any sequence of changes, blocks of %i', async (blockBytes) => {
    const device = new MemoryDevice({ sizeBytes: SIZE, blockBytes });
    const model = new Uint8Array(SIZE);
    const dice = new SeededRandom(blockBytes);
    for (let i = 0; i < 400; i += 1) {
      const roll = Buffer.from(dice.bytes(9));
      const offsetBytes = roll.readUInt32BE(0) % SIZE;
      const lengthBytes = Math.min(SIZE - offsetBytes, roll.readUInt32BE(4) % (i % 20 === 0 ? SIZE : 20_000));
      const kind = roll[8] % 4;
      if (kind < 2) {
        const data = dice.bytes(lengthBytes + 5);
        model.set(data.subarray(5), offsetBytes);
        expect(ask(device, { operation: Operation.WRITE, offsetBytes, lengthBytes, data, dataOffset: 5 })).toBeNull();
      } else {
        const operation = kind === 2 ? Operation.TRIM : Operation.WRITE_ZEROES;
        model.fill(0, offsetBytes, offsetBytes + lengthBytes);
        expect(ask(device, { operation, offsetBytes, lengthBytes })).toBeNull();
      }
      expect(
        Buffer.compare(
          readBack(device, offsetBytes, lengthBytes),
          model.subarray(offsetBytes, offsetBytes + lengthBytes),
        ),
      ).toBe(0);
    }
    expect(Buffer.compare(readBack(device, 0, SIZE), model)).toBe(0);
    // Extents tell the truth about what is not allocated, and cover the range.
    const extents = await device.extents(0, SIZE, 1 << 20);
    let at = 0;
    for (const [i, extent] of extents.entries()) {
      if (!extent.allocated) expect(model.subarray(at, at + extent.lengthBytes).every((byte) => byte === 0)).toBe(true);
      if (i > 0) expect(extent.allocated).not.toBe(extents[i - 1].allocated);
      at += extent.lengthBytes;
    }
    expect(at).toBe(SIZE);
    expect(extents.filter((extent) => extent.allocated).reduce((sum, extent) => sum + extent.lengthBytes, 0)).toBe(
      device.allocatedBytes,
    );
  });

  it('zeroing all of a huge empty device costs nothing', () => {
    const device = new MemoryDevice({ sizeBytes: 2 ** 50 });
    ask(device, { operation: Operation.WRITE, offsetBytes: 2 ** 49, lengthBytes: 1, data: new Uint8Array(1) });
    expect(ask(device, { operation: Operation.TRIM, offsetBytes: 0, lengthBytes: 2 ** 50 })).toBeNull();
    expect(device.allocatedBytes).toBe(0);
  });

  it('extents stop at their limit, start and end where they are asked', async () => {
    const device = new MemoryDevice({ sizeBytes: SIZE });
    const data = new Uint8Array(4096);
    for (const offsetBytes of [4096, 16384]) {
      ask(device, { operation: Operation.WRITE, offsetBytes, lengthBytes: 4096, data });
    }
    expect(await device.extents(5000, 20_000, 2)).toEqual([
      { lengthBytes: 3192, allocated: true },
      { lengthBytes: 8192, allocated: false },
    ]);
    expect(await device.extents(5000, 100, 9)).toEqual([{ lengthBytes: 100, allocated: true }]);
    expect(await device.extents(0, 0, 9)).toEqual([]);
    await expect(device.extents(SIZE, 1, 9)).rejects.toBeInstanceOf(DeviceError);
  });

  it('faults', () => {
    const device = new MemoryDevice({ sizeBytes: SIZE, fastZero: false });
    const fast = { operation: Operation.WRITE_ZEROES, offsetBytes: 0, lengthBytes: 4096, flags: RequestFlag.FAST_ZERO };
    expect(ask(device, fast)).toBe('UNSUPPORTED');
    expect(ask(device, { operation: Operation.READ, offsetBytes: SIZE, lengthBytes: 1 })).toBe('RANGE');
    expect(ask(device, { operation: Operation.FLUSH, offsetBytes: 0, lengthBytes: 0 })).toBeNull();
    expect(ask(device, { operation: Operation.CACHE, offsetBytes: 0, lengthBytes: SIZE })).toBeNull();
    const readOnly = new MemoryDevice({ sizeBytes: SIZE, readOnly: true });
    for (const operation of [Operation.WRITE, Operation.TRIM, Operation.WRITE_ZEROES]) {
      expect(ask(readOnly, { operation, offsetBytes: 0, lengthBytes: 1 })).toBe('READ_ONLY');
    }
    expect(
      ask(readOnly, { operation: Operation.READ, offsetBytes: 0, lengthBytes: 1, data: new Uint8Array(1) }),
    ).toBeNull();
  });

  it('grows, and only grows', () => {
    const device = new MemoryDevice({ sizeBytes: SIZE });
    device.grow(2 * SIZE);
    expect(device.sizeBytes).toBe(2 * SIZE);
    expect(readBack(device, SIZE, 100).every((byte) => byte === 0)).toBe(true);
    expect(() => device.grow(SIZE)).toThrow('only grows');
  });
});

describe('NullDevice', () => {
  it('completes everything, touches nothing, and keeps to its size', async () => {
    const device = new NullDevice({ sizeBytes: SIZE });
    const data = new Uint8Array(10).fill(7);
    expect(ask(device, { operation: Operation.READ, offsetBytes: 0, lengthBytes: 10, data })).toBeNull();
    expect(data.every((byte) => byte === 7)).toBe(true);
    expect(ask(device, { operation: Operation.WRITE, offsetBytes: SIZE - 9, lengthBytes: 10, data })).toBe('RANGE');
    expect(await device.extents(0, 10)).toEqual([{ lengthBytes: 10, allocated: true }]);
  });
});

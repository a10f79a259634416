/**
 * Calls every function of the addon with wrong, hostile and half-right arguments: `bad-arguments-child.ts FOLDER SEED`.
 * Throwing is fine, answering is fine; the test looks at how this process ends. Prints how many calls it made.
 */
import { openSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { addon } from '../../src/io/addon.js';

const folder = process.argv[2] ?? '.';
const seed = Number(process.argv[3] ?? '1');
// Descriptors that exist are in the mix: one to write, one that may only be read, one that never is.
const file = openSync(join(folder, 'victim'), 'w+');
const readOnly = openSync(join(folder, 'victim'), 'r');

const keyring = addon.createKeyring(true);
addon.addDataKey(keyring, 1, new Uint8Array(32));
const sealing = addon.createSealingKey(keyring, 1, new Uint8Array(16));
const released = addon.createKeyring(true);
addon.releaseKeyring(released);

function detached(): Uint8Array {
  const bytes = new Uint8Array(8192);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** An array whose second element, when it is read, detaches the first. */
function treacherous(): Uint8Array[] {
  const first = new Uint8Array(8192);
  const array = [first, first];
  Object.defineProperty(array, 1, {
    get: () => {
      if (first.buffer.byteLength > 0) structuredClone(first.buffer, { transfer: [first.buffer] });
      return new Uint8Array(8192);
    },
  });
  return array;
}

function throwing(): unknown[] {
  const array: unknown[] = [];
  Object.defineProperty(array, 0, {
    get: () => {
      throw new Error('a getter of the test');
    },
    enumerable: true,
  });
  array.length = 1;
  return array;
}

const number = fc.oneof(
  fc.constantFrom(
    0,
    1,
    -1,
    0.5,
    NaN,
    Infinity,
    -Infinity,
    -0,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    2 ** 53 - 1,
    2 ** 63,
    -(2 ** 31),
  ),
  fc.constantFrom(12, 64, 96, 112, 128, 4096, 4160, 65536, 66560, file, readOnly, 999_999, keyring, sealing, released),
  fc.integer({ min: -10, max: 10_000 }),
);
const anything = fc.oneof(
  number,
  fc.constantFrom<unknown>(undefined, null, '', 'text', 'a\0b', true, false, 10n, Symbol('s'), {}, [], () => undefined),
  fc.constantFrom<unknown>(
    new DataView(new ArrayBuffer(64)),
    new ArrayBuffer(64),
    new Float32Array(8),
    new BigInt64Array(8),
  ),
  fc.constant(null).map(() => new Proxy([], {})),
  fc.constant(null).map(detached),
  fc.constant(null).map(treacherous),
  fc.constant(null).map(throwing),
  fc.uint8Array({ maxLength: 300 }),
  fc.constant(null).map(() => new Uint8Array(new SharedArrayBuffer(8192))),
);
const bytes = fc.oneof(
  { arbitrary: fc.constantFrom(0, 16, 32, 100, 4096, 65536).map((length) => new Uint8Array(length)), weight: 6 },
  { arbitrary: anything, weight: 1 },
);
const ints = fc.oneof(
  {
    arbitrary: fc
      .array(fc.oneof(fc.constantFrom(0, 0, 0, 1, 96, 128, 4096, 4160, sealing, keyring, file, -1), fc.integer()), {
        maxLength: 24,
      })
      .map((values) => Int32Array.from(values)),
    weight: 8,
  },
  { arbitrary: anything, weight: 1 },
);
const doubles = fc.oneof(
  { arbitrary: fc.array(number, { maxLength: 12 }).map((values) => Float64Array.from(values)), weight: 8 },
  { arbitrary: anything, weight: 1 },
);
const arrays = fc.oneof(
  { arbitrary: fc.array(bytes, { maxLength: 3 }), weight: 6 },
  { arbitrary: fc.constant(null).map(treacherous), weight: 1 },
  { arbitrary: anything, weight: 1 },
);
const small = fc.oneof({ arbitrary: fc.constantFrom(0, 1, 1, 2, 3), weight: 6 }, { arbitrary: anything, weight: 1 });
const files = fc.oneof(
  { arbitrary: fc.constantFrom(file, readOnly, 999_999), weight: 6 },
  { arbitrary: anything, weight: 1 },
);
const places = fc.oneof(
  { arbitrary: fc.constantFrom(0, 1, 64, 4096, 100_000), weight: 6 },
  { arbitrary: anything, weight: 1 },
);
const done = fc.oneof({ arbitrary: fc.constant(() => undefined), weight: 6 }, { arbitrary: anything, weight: 1 });
// Headers that say a believable length at the place where the kernel looks for it.
const headers = fc.oneof(
  {
    arbitrary: fc.constantFrom(0, 80, 96, 128, 129, 0xffffffff).map((covered) => {
      const header = new Uint8Array(512);
      for (const at of [0, 96, 128]) new DataView(header.buffer).setUint32(at + 16, covered, true);
      return header;
    }),
    weight: 8,
  },
  { arbitrary: anything, weight: 1 },
);
const sealBatch = [files, places, headers, places, ints, small, ints, ints, doubles, small, arrays, small] as const;
const openBatch = [ints, doubles, ints, small, arrays] as const;
const range = [files, places, places, done] as const;

// What is not here blocks, or would end this process rightly.
const calls: Record<string, readonly fc.Arbitrary<unknown>[]> = {
  crc32c: [bytes, places, places, number],
  isZero: [bytes, places, places],
  allowHardwareChecksums: [anything],
  createKeyring: [anything],
  addDataKey: [number, number, bytes],
  releaseKeyring: [
    fc.oneof(
      fc.constant(released),
      anything.filter((value) => value !== keyring),
    ),
  ],
  createSealingKey: [fc.constantFrom<unknown>(keyring, released, 0, NaN, 'x'), number, bytes],
  releaseSealingKey: [anything.filter((value) => value !== sealing)],
  proveSealed: [fc.constantFrom<unknown>(keyring, released, 0, NaN, 'x'), bytes, number, number],
  appendNow: sealBatch,
  appendLater: [...sealBatch, done],
  openNow: openBatch,
  openLater: [...openBatch, done],
  // Lengths stay small, because this disk is shared.
  allocate: range,
  truncate: [files, places, fc.constantFrom<unknown>(0, 5000, 200_000, NaN, -1, '7'), done],
  fillZeros: range,
  punch: range,
  writeback: range,
  dropCache: range,
  readAhead: range,
  noReadAhead: range,
  sync: [files, done],
  syncDirectory: [fc.oneof(fc.constant(folder), anything), done],
  read: [files, places, bytes, places, places, done],
  write: [files, places, bytes, done],
  lockFile: [files],
  notifySystemd: [anything, anything],
};

/** Numbers that would really allocate or write that much, if they came where a length stands. */
function tooLarge(name: string, values: readonly unknown[]): boolean {
  if (!['allocate', 'fillZeros', 'write', 'read', 'appendNow', 'appendLater'].includes(name)) return false;
  const where = name === 'allocate' || name === 'fillZeros' ? values.slice(1, 3) : values.slice(1, 2);
  return where.some((value) => typeof value === 'number' && value > 10_000_000);
}

let made = 0;
let answered = 0;

function attempt(name: string, values: readonly unknown[]): void {
  made += 1;
  try {
    (addon as unknown as Record<string, (...values: readonly unknown[]) => unknown>)[name]?.(...values);
    answered += 1;
  } catch (thrown) {
    const expected =
      thrown instanceof TypeError || thrown instanceof RangeError || String(thrown).includes('of the test');
    if (!expected) throw new Error(`${name} threw something else`, { cause: thrown });
  }
}

/** A batch that is right in everything, so that one change to it reaches far. */
function rightOpen(): unknown[] {
  const rows = Int32Array.from([file, 0, 0, keyring, 4096, 4160, file, 0, 4096, keyring, 4096, 4160]);
  return [rows, Float64Array.from([0, 0, 0, 4160, 1, 0]), Int32Array.from([1, 1]), 2, [new Uint8Array(8192)]];
}

let counter = 0;
function rightSeal(): unknown[] {
  const header = new Uint8Array(128);
  new DataView(header.buffer).setUint32(16, 112, true);
  const blocks = Int32Array.from([0, 0, sealing, 1, 0, 4096, sealing, 1]);
  const numbers = Float64Array.from([0, counter++, 1, counter++]);
  const records = Int32Array.from([0, 128, 0, 2]);
  return [file, 0, header, 128, records, 1, Int32Array.from([4096]), blocks, numbers, 2, [new Uint8Array(8192)], 0];
}

/** Puts one wrong thing into a right call: a whole argument, or one number inside a typed array. */
function spoil(values: unknown[], which: number, place: number, wrong: unknown): void {
  const at = which % values.length;
  const target = values[at];
  if ((target instanceof Int32Array || target instanceof Float64Array) && typeof wrong === 'number') {
    target[place % target.length] = wrong;
  } else {
    values[at] = wrong;
  }
}

const rounds = { seed, numRuns: 400 };
for (const [name, values] of Object.entries(calls)) {
  fc.assert(
    fc.property(fc.tuple(...values), fc.nat({ max: 12 }), (chosen, count) => {
      // Now and then too few.
      const given = count < 2 ? chosen.slice(0, count) : chosen;
      if (!tooLarge(name, given)) attempt(name, given);
    }),
    rounds,
  );
}
fc.assert(
  fc.property(fc.nat(), fc.nat(), anything, (which, place, wrong) => {
    for (const name of ['appendNow', 'appendLater']) {
      const values = rightSeal();
      spoil(values, which, place, wrong);
      if (!tooLarge(name, values)) attempt(name, name === 'appendLater' ? [...values, () => undefined] : values);
    }
    for (const name of ['openNow', 'openLater']) {
      const values = rightOpen();
      spoil(values, which, place, wrong);
      attempt(name, name === 'openLater' ? [...values, () => undefined] : values);
    }
  }),
  { seed, numRuns: 3000 },
);

// Everything that was started comes to its end before this process does.
process.once('exit', () => {
  console.log(`made ${String(made)} calls, ${String(answered)} were answered`);
});

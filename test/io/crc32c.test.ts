import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { crc32c as plainCrc32c } from '../../src/base/crc32c.js';
import { addon } from '../../src/io/addon.js';
import { NativeChecksums } from '../../src/io/native-checksums.js';
import { pattern } from './kernel-fixture.js';

const checksums = new NativeChecksums();
const ascending = Uint8Array.from({ length: 32 }, (_, n) => n);

/** RFC 3720 appendix B.4. */
const VECTORS: readonly [string, Uint8Array, number][] = [
  ['32 zero bytes', new Uint8Array(32), 0x8a9136aa],
  ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['32 ascending bytes', ascending, 0x46dd794e],
  ['32 descending bytes', ascending.slice().reverse(), 0x113fdb5c],
];

afterEach(() => {
  addon.allowHardwareChecksums(true);
});

for (const path of ['as the machine has it', 'without the instruction']) {
  describe(`CRC32C ${path}`, () => {
    const choose = (): void => {
      const inUse = addon.allowHardwareChecksums(path === 'as the machine has it');
      if (path !== 'as the machine has it') expect(inUse).toBe(false);
    };

    for (const [name, bytes, sum] of VECTORS) {
      it(`gives the published sum of ${name}`, () => {
        choose();
        expect(checksums.crc32c(bytes, 0, bytes.length, 0)).toBe(sum);
      });
    }

    it('agrees with the plain JavaScript one at every length around the stream sizes', () => {
      choose();
      const bytes = pattern(8300);
      const lengths = [0, 1, 7, 8, 9, 383, 384, 385, 4079, 4080, 4081, 4160, 8159, 8160, 8161, 8250];
      for (const length of lengths) {
        for (const offset of [0, 1, 3, 8]) {
          expect(checksums.crc32c(bytes, offset, length, 0)).toBe(plainCrc32c(bytes.subarray(offset, offset + length)));
        }
      }
    });

    it('continues from a seed as if the parts were one', () => {
      choose();
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 9000 }), fc.nat(), (bytes, cut) => {
          const at = bytes.length === 0 ? 0 : cut % (bytes.length + 1);
          const head = checksums.crc32c(bytes, 0, at, 0);
          const whole = checksums.crc32c(bytes, 0, bytes.length, 0);
          return checksums.crc32c(bytes, at, bytes.length - at, head) === whole && whole === plainCrc32c(bytes);
        }),
        { numRuns: 60 },
      );
    });
  });
}

describe('isZero', () => {
  it('is true of zeros of any length and place, the empty one included', () => {
    const bytes = new Uint8Array(5000);
    for (const length of [0, 1, 2, 7, 63, 64, 65, 4096]) expect(checksums.isZero(bytes, 3, length)).toBe(true);
  });

  it('sees one byte anywhere, and none outside the range', () => {
    for (const at of [0, 1, 2, 100, 2047, 2048, 4094, 4095]) {
      const bytes = new Uint8Array(4098);
      bytes[at + 1] = 1;
      expect(checksums.isZero(bytes, 1, 4096)).toBe(false);
    }
    const bytes = new Uint8Array(4098);
    bytes[0] = 1;
    bytes[4097] = 1;
    expect(checksums.isZero(bytes, 1, 4096)).toBe(true);
  });
});

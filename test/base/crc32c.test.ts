import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from '../../src/base/crc32c.js';

describe('crc32c', () => {
  // RFC 3720 appendix B.4.
  it.each([
    ['32 bytes of zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 bytes ascending', Uint8Array.from({ length: 32 }, (_, index) => index), 0x46dd794e],
    ['32 bytes descending', Uint8Array.from({ length: 32 }, (_, index) => 31 - index), 0x113fdb5c],
    ['the check string', new TextEncoder().encode('123456789'), 0xe3069283],
  ])('matches the published value of %s', (_, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
  });

  it('continues from a seed', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) => {
        expect(crc32c(right, crc32c(left))).toBe(crc32c(Uint8Array.from([...left, ...right])));
      }),
    );
  });
});

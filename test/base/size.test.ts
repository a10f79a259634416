import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSize, parseSize } from '../../src/base/size.js';
import { UnitError } from '../../src/base/unit-error.js';

describe('parseSize', () => {
  it.each([
    ['1048576', 1048576],
    ['0', 0],
    ['512B', 512],
    ['512M', 512 * 2 ** 20],
    ['1G', 2 ** 30],
    ['1g', 2 ** 30],
    ['10GB', 10 * 2 ** 30],
    ['64KiB', 65536],
    ['64Ki', 65536],
    ['1.5T', 1.5 * 2 ** 40],
    ['1.25 GiB', 1.25 * 2 ** 30],
    [' 2P ', 2 ** 51],
  ])('reads %j', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    ['', /no size given/],
    ['   ', /no size given/],
    ['-1G', /"-1G" is negative/],
    ['1.5', /whole number of bytes/],
    ['0.1M', /whole number of bytes: the nearest below is 104857$/],
    ['10X', /"10X" is not a size/],
    ['1e9', /not a size/],
    ['0x10', /not a size/],
    ['1,5G', /not a size/],
    ['.5G', /not a size/],
    ['1.G', /not a size/],
    ['1 000', /not a size/],
    ['NaN', /not a size/],
    ['16P', /larger than anything/],
    ['9007199254740992', /larger than anything/],
    ['99999999999999999999999999', /not a size/],
  ])('refuses %j and says why', (text, message) => {
    expect(() => parseSize(text)).toThrow(message);
    expect(() => parseSize(text)).toThrow(UnitError);
  });

  it('is exact where floating point is not', () => {
    expect(parseSize('8796093022207.9990234375K')).toBe(9007199254740991);
    expect(parseSize('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
    expect(() => parseSize('1.0000000000000000000000001G')).toThrow(/whole number/);
  });

  it('reads back what formatSize prints, within its rounding', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        const text = formatSize(bytes);
        // Hundredths of a unit need not be whole bytes: compare through the number that is shown.
        const shown = Number(text.split(' ')[0]);
        const power = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'].indexOf(text.split(' ')[1] ?? '');
        expect(shown).toBeLessThan(1024);
        expect(Math.abs(shown * 1024 ** power - bytes)).toBeLessThanOrEqual(0.0051 * 1024 ** power);
      }),
    );
  });
});

describe('formatSize', () => {
  it.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [2 ** 20 - 1, '1 MiB'],
    [1.5 * 2 ** 40, '1.5 TiB'],
  ])('prints %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });
});

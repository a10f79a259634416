import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../src/base/duration.js';
import { UnitError } from '../../src/base/unit-error.js';

describe('parseDuration', () => {
  it.each([
    ['250ms', 250],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['1.5h', 5_400_000],
    ['2d', 172_800_000],
    ['1h30m', 5_400_000],
    ['0', 0],
    ['0s', 0],
    ['0.25s', 250],
  ])('reads %j', (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each([
    ['', /no duration given/],
    ['5', /"5" is not a duration/],
    ['-5s', /negative/],
    ['5 s', /not a duration/],
    ['5x', /not a duration/],
    ['s', /not a duration/],
    ['30m1h', /not a duration/],
    ['1m1m', /not a duration/],
    ['0.5ms', /whole number of milliseconds/],
    ['3651d', /ten years/],
  ])('refuses %j and says why', (text, message) => {
    expect(() => parseDuration(text)).toThrow(message);
    expect(() => parseDuration(text)).toThrow(UnitError);
  });

  it('reads back what formatDuration prints', () => {
    fc.assert(
      fc.property(fc.nat({ max: 3650 * 86_400_000 }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });

  it('prints the largest units first and leaves empty ones out', () => {
    expect(formatDuration(5_400_250)).toBe('1h30m250ms');
    expect(formatDuration(0)).toBe('0s');
  });
});

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelError } from '../../src/model/model-error.js';
import { checkVolumeName } from '../../src/model/volume-name.js';

describe('checkVolumeName', () => {
  it.each(['a', 'web-data', 'db_01.main', '0', '-', '...', 'x'.repeat(63)])('takes %j', (name) => {
    expect(checkVolumeName(name)).toBe(name);
  });

  it.each([
    ['', /is empty: it has 1 to 63 characters/],
    ['.', /reserved/],
    ['..', /reserved/],
    ['Web', /"Web" has "W" at position 1 \(write "w"\): allowed are a-z/],
    ['web data', /has " " at position 4:/],
    ['a/b', /has "\/" at position 2:/],
    ['naïve', /has "ï" at position 3:/],
    ['a\n', /has "\\n" at position 2:/],
    ['😀', /has "😀" at position 1:/],
    ['x'.repeat(64), /has 64 characters: at most 63/],
  ])('refuses %j and says which character', (name, message) => {
    expect(() => checkVolumeName(name)).toThrow(message);
    expect(() => checkVolumeName(name)).toThrow(ModelError);
  });

  it('takes exactly the names of the rule', () => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 70, unit: fc.constantFrom('a', 'z', '0', '-', '_', '.', 'A', ' ', '/', 'é') }),
        (name) => {
          const right = /^[a-z0-9._-]{1,63}$/.test(name) && name !== '.' && name !== '..';
          if (right) expect(checkVolumeName(name)).toBe(name);
          else expect(() => checkVolumeName(name)).toThrow(ModelError);
        },
      ),
    );
  });
});

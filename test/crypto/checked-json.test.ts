import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeChecked, encodeChecked } from '../../src/crypto/checked-json.js';

describe('checked JSON', () => {
  it('is one line that a person can read', () => {
    expect(new TextDecoder().decode(encodeChecked({ format: 1, text: 'ä' }))).toMatch(
      /^\{"format":1,"text":"ä","crc32c":"[0-9a-f]{8}"\}\n$/,
    );
  });

  it('gives back what was put in', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1, noNullPrototype: true }), (fields) => {
        expect(decodeChecked(encodeChecked(fields))).toEqual(JSON.parse(JSON.stringify(fields)));
      }),
    );
  });

  it('gives nothing for any changed byte', () => {
    const bytes = encodeChecked({ format: 1, key: 'c2VjcmV0' });
    for (let index = 0; index < bytes.length - 1; index++) {
      const changed = Uint8Array.from(bytes);
      changed[index] = (changed[index] ?? 0) ^ 0x01;
      expect(decodeChecked(changed)).toBeNull();
    }
    expect(decodeChecked(bytes.subarray(0, bytes.length - 3))).toBeNull();
    expect(decodeChecked(new Uint8Array())).toBeNull();
    expect(decodeChecked(Uint8Array.of(0xff, 0xfe))).toBeNull();
  });
});

import { createCipheriv } from 'node:crypto';
import { aeskw, aeskwp } from '@noble/ciphers/aes.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyCheckMatches, keyCheckOf, unwrapKey, wrapKey } from '../../src/crypto/key-wrap.js';

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));
}

const KEK_256 = '000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F';
const KEY_256 = '00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F';

describe('key wrapping', () => {
  it('matches RFC 3394 section 4.6: 256 bits of key data with a 256-bit KEK', () => {
    const wrapped = hex('28C9F404C4B810F4 CBCCB35CFB87F826 3F5786E2D80ED326 CBC7F0E71A99F43B FB988B9B7A02DD21');
    expect(wrapKey(hex(KEK_256), hex(KEY_256))).toEqual(wrapped);
    expect(unwrapKey(hex(KEK_256), wrapped)).toEqual(hex(KEY_256));
  });

  // The library beneath, on the rest of the vectors: what we will wrap with it later rests on them.
  it.each([
    ['4.1', KEK_256.slice(0, 32), KEY_256.slice(0, 32), '1FA68B0A8112B447 AEF34BD8FB5A7B82 9D3E862371D2CFE5'],
    ['4.2', KEK_256.slice(0, 48), KEY_256.slice(0, 32), '96778B25AE6CA435 F92B5B97C050AED2 468AB8A17AD84E5D'],
    ['4.3', KEK_256, KEY_256.slice(0, 32), '64E8C3F9CE0F5BA2 63E9777905818A2A 93C8191E7D6E8AE7'],
    [
      '4.4',
      KEK_256.slice(0, 48),
      KEY_256.slice(0, 48),
      '031D33264E15D332 68F24EC260743EDC E1C6C7DDEE725A93 6BA814915C6762D2',
    ],
    ['4.5', KEK_256, KEY_256.slice(0, 48), 'A8F9BC1612C68B3F F6E6F4FBE30E71E4 769C8B80A32CB895 8CD5D17D6B254DA1'],
  ])('the library matches RFC 3394 section %s', (_, kek, key, wrapped) => {
    expect(aeskw(hex(kek)).encrypt(hex(key))).toEqual(hex(wrapped));
    expect(aeskw(hex(kek)).decrypt(hex(wrapped))).toEqual(hex(key));
  });

  it.each([
    [
      '20 octets',
      'c37b7e6492584340bed12207808941155068f738',
      '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
    ],
    ['7 octets', '466f7250617369', 'afbeb0f07dfbf5419200f2ccb50bb24f'],
  ])('the library matches RFC 5649 section 6: %s', (_, key, wrapped) => {
    const kek = hex('5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8');
    expect(aeskwp(kek).encrypt(hex(key))).toEqual(hex(wrapped));
    expect(aeskwp(kek).decrypt(hex(wrapped))).toEqual(hex(key));
  });

  it('agrees with OpenSSL for any key', () => {
    const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
    fc.assert(
      fc.property(key, key, (masterKey, dataKey) => {
        const cipher = createCipheriv('id-aes256-wrap', masterKey, Buffer.alloc(8, 0xa6));
        const wrapped = Buffer.concat([cipher.update(dataKey), cipher.final()]);
        expect(Buffer.from(wrapKey(masterKey, dataKey)).equals(wrapped)).toBe(true);
        expect(unwrapKey(masterKey, Uint8Array.from(wrapped))).toEqual(dataKey);
      }),
    );
  });

  it('gives nothing for a wrong key, or for any changed bit', () => {
    const wrapped = wrapKey(hex(KEK_256), hex(KEY_256));
    expect(unwrapKey(hex(KEY_256), wrapped)).toBeNull();
    expect(unwrapKey(hex(KEK_256), wrapped.subarray(0, 32))).toBeNull();
    for (let bit = 0; bit < wrapped.length * 8; bit++) {
      const changed = Uint8Array.from(wrapped);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(unwrapKey(hex(KEK_256), changed)).toBeNull();
    }
  });
});

describe('the check of a key', () => {
  it('knows its key and no other', () => {
    const check = keyCheckOf(hex(KEY_256));
    expect(check).toMatch(/^[0-9a-f]{32}$/);
    expect(keyCheckMatches(hex(KEY_256), check)).toBe(true);
    expect(keyCheckMatches(hex(KEK_256), check)).toBe(false);
    expect(keyCheckMatches(hex(KEY_256), '')).toBe(false);
  });
});

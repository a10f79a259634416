import { describe, expect, it } from 'vitest';
import { storedBytesOf } from '../../src/io/record-layout.js';
import { DATA_KEY, GENERATION, pattern, SALT, useKernels } from './kernel-fixture.js';
import { additionalData, blockKey, decrypt, sealReference, type Cipher } from './reference-blocks.js';

const CIPHERS: readonly Cipher[] = ['node:crypto', '@noble/ciphers'];
const SIZES = [4096, 8192, 16384, 32768, 65536];

describe('sealed blocks against independent implementations', () => {
  const kernels = useKernels();

  for (const plainBytes of SIZES) {
    for (const cipher of CIPHERS) {
      it(`${cipher} opens what the addon sealed, ${String(plainBytes)} bytes`, () => {
        const plain = pattern(plainBytes);
        const at = kernels.append(0, kernels.encrypting, plain, plainBytes, 77);
        const sealed = kernels.bytes().subarray(at, at + storedBytesOf(plainBytes));
        const opened = decrypt(
          cipher,
          blockKey(DATA_KEY, SALT),
          sealed.subarray(0, 12),
          additionalData(77, 0, plainBytes),
          sealed.subarray(64, 64 + plainBytes),
          sealed.subarray(12, 28),
        );
        expect(Buffer.compare(opened, plain)).toBe(0);
      });

      it(`the addon opens what ${cipher} sealed, ${String(plainBytes)} bytes`, async () => {
        const plain = pattern(plainBytes, 5);
        const index = 2 ** 40 + 3;
        const block = {
          dataKey: DATA_KEY,
          keyNumber: 1,
          salt: SALT,
          epoch: 9,
          counter: 2 ** 33,
          generation: GENERATION,
          index,
          plain,
        };
        kernels.setBytes(sealReference(cipher, block));
        const opened = await kernels.openOne({ offset: 0, index, plainBytes, keyring: kernels.strict });
        expect(opened.status).toBe(0);
        expect(Buffer.compare(opened.plain, plain)).toBe(0);
      });
    }

    it(`seals byte for byte what the reference seals, ${String(plainBytes)} bytes, encrypted and plain`, () => {
      const plain = pattern(plainBytes, 3);
      const firstAt = kernels.append(0, kernels.encrypting, plain, plainBytes, 5);
      const secondAt = kernels.append(1 << 20, kernels.plain, plain, plainBytes, 6);
      const bytes = kernels.bytes();
      const common = { dataKey: DATA_KEY, salt: SALT, epoch: 0x0102_0304, generation: GENERATION, plain };
      const first = sealReference('node:crypto', { ...common, keyNumber: 1, counter: 0, index: 5 });
      const second = sealReference('node:crypto', { ...common, keyNumber: 0, counter: 1, index: 6 });
      expect(Buffer.compare(bytes.subarray(firstAt, firstAt + first.length), first)).toBe(0);
      expect(Buffer.compare(bytes.subarray(secondAt, secondAt + second.length), second)).toBe(0);
    });
  }
});

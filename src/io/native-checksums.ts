import { addon } from './addon.js';
import type { Checksums } from './block-keys.js';

export class NativeChecksums implements Checksums {
  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number {
    return addon.crc32c(bytes, offset, length, seed);
  }

  isZero(bytes: Uint8Array, offset: number, length: number): boolean {
    // Most data shows itself at one of these places, and a look costs less than the crossing.
    if (
      length > 0 &&
      (bytes[offset] ?? 0) | (bytes[offset + length - 1] ?? 0) | (bytes[offset + (length >>> 1)] ?? 0)
    ) {
      return false;
    }
    return addon.isZero(bytes, offset, length);
  }
}

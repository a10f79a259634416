import { crc32c } from '../../src/base/crc32c.js';

const HEADER_BYTES = 64;
const TAG_AT = 12;
const KEY_NUMBER_AT = 44;
const HEADER_CRC_AT = 60;
const VEIL = 0x5a;

/** A block in the place of a sealed one: its header has key number and checksum where they belong, and binds it to its index. */
export function sealFake(number: number, index: number, plain: Uint8Array): Buffer {
  const sealed = Buffer.alloc((plain.length / 64) * 65);
  for (let at = 0; at < plain.length; at += 1) sealed[HEADER_BYTES + at] = plain[at] ^ VEIL;
  sealed.writeUInt32LE(crc32c(plain, index), TAG_AT);
  sealed.writeUInt32LE(number, KEY_NUMBER_AT);
  sealed.writeUInt32LE(crc32c(sealed.subarray(0, HEADER_CRC_AT)), HEADER_CRC_AT);
  return sealed;
}

/** null: it is not what was sealed there under one of the keys. */
export function openFake(numbers: readonly number[], index: number, sealed: Buffer): Uint8Array | null {
  const plain = Uint8Array.from(sealed.subarray(HEADER_BYTES), (byte) => byte ^ VEIL).slice(
    0,
    (sealed.length / 65) * 64,
  );
  const isOurs = numbers.includes(sealed.readUInt32LE(KEY_NUMBER_AT));
  return isOurs && crc32c(plain, index) === sealed.readUInt32LE(TAG_AT) ? plain : null;
}

/**
 * CRC32C (Castagnoli; RFC 3720 appendix B.4) in plain JavaScript, for small records of the control plane and for
 * processes that must not load the addon. Blocks and journal records use the addon's.
 */
const POLYNOMIAL_REFLECTED = 0x82f63b78;

const TABLE = makeTable();

function makeTable(): Uint32Array {
  const table = new Uint32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL_REFLECTED : 0);
    table[byte] = crc;
  }
  return table;
}

/** Unsigned checksum of `bytes`, continuing from `seed` (the checksum of what came before; 0 to start). */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed;
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0);
  return ~crc >>> 0;
}

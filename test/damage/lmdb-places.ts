const PAGE_BYTES = 4096;
const PAGE_HEADER_BYTES = 24;
/** Page header and MDB_meta of the LMDB that the `lmdb` package carries. */
const META_BYTES = 168;
const FLAGS_AT = 18;
const LOWER_AT = 20;
const UPPER_AT = 22;
const NODE_HEADER_BYTES = 8;
const KEY_SIZE_AT = 6;
const BRANCH = 1;
const LEAF = 2;

/**
 * Every byte by which LMDB finds its way: both meta pages, and of each branch and leaf page the header, the pointers,
 * and the nodes' headers and keys.
 */
export function structureOf(bytes: Buffer): number[] {
  const found = new Set<number>();
  const add = (from: number, count: number): void => {
    for (let at = from; at < from + count && at < bytes.length; at += 1) found.add(at);
  };
  add(0, META_BYTES);
  add(PAGE_BYTES, META_BYTES);
  for (let page = 2; (page + 1) * PAGE_BYTES <= bytes.length; page += 1) {
    const from = page * PAGE_BYTES;
    const flags = bytes.readUInt16LE(from + FLAGS_AT);
    const lower = bytes.readUInt16LE(from + LOWER_AT);
    const upper = bytes.readUInt16LE(from + UPPER_AT);
    if (bytes.subarray(from, from + PAGE_BYTES).every((byte) => byte === 0)) continue;
    add(from, PAGE_HEADER_BYTES);
    if ((flags & (BRANCH | LEAF)) === 0 || upper > PAGE_BYTES) continue;
    const pointers = lower <= PAGE_BYTES - PAGE_HEADER_BYTES ? lower : 0;
    add(from + PAGE_HEADER_BYTES, pointers);
    for (let at = PAGE_HEADER_BYTES; at + 2 <= PAGE_HEADER_BYTES + pointers; at += 2) {
      const node = bytes.readUInt16LE(from + at) + PAGE_HEADER_BYTES;
      if (node + NODE_HEADER_BYTES > PAGE_BYTES) continue;
      const keyBytes = bytes.readUInt16LE(from + node + KEY_SIZE_AT);
      add(from + node, NODE_HEADER_BYTES + Math.min(keyBytes, PAGE_BYTES - node - NODE_HEADER_BYTES));
    }
  }
  return [...found].sort((one, other) => one - other);
}

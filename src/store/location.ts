/**
 * Where a sealed block lies: segment slot (24 bits), offset in units of blockBytes/64 (20 bits), stored length in the
 * same units (7 bits), packed into 51 bits of a safe integer so that a leaf is one Float64Array row.
 *
 *   location = slot * 2^27 + offsetUnits * 2^7 + storedUnits
 *
 * The negative values and 0 cannot be locations (a stored length is never 0).
 */

/** The layer says nothing about this block: ask the parent; with none it reads as zeros. Fresh rows are zeroed, so 0. */
export const ABSENT = 0;
/** Reads as zeros and hides the parent. */
export const HOLE = -1;
/** In memory only: this entry has not been fetched from the persisted leaf yet. */
export const UNLOADED = -2;

const SLOT_UNIT = 2 ** 27;
const OFFSET_UNITS_MASK = 2 ** 20 - 1;
/** Low bits by bit operations, which are exact for whole numbers below 2^53: `%` calls the C library for each. */
const STORED_UNITS_MASK = 2 ** 7 - 1;

/** Offset and stored length in units of blockBytes/64. */
export function packLocation(slot: number, offsetUnits: number, storedUnits: number): number {
  return slot * SLOT_UNIT + offsetUnits * 128 + storedUnits;
}

/** Of a location, not of ABSENT, HOLE or UNLOADED; so the two below. */
export function slotOf(location: number): number {
  return Math.floor(location / SLOT_UNIT);
}

export function offsetUnitsOf(location: number): number {
  return (location >>> 7) & OFFSET_UNITS_MASK;
}

export function storedUnitsOf(location: number): number {
  return location & STORED_UNITS_MASK;
}

/** The location behind `location` if the next block was stored right after it. */
export function followerOf(location: number): number {
  return location + storedUnitsOf(location) * 128;
}

/** Units that an uncompressed sealed block of any size takes: 64 bytes of header and the ciphertext, in blockBytes/64. */
export const WHOLE_STORED_UNITS = 65;

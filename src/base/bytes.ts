/** Little-endian numbers up to 2^53 in byte arrays, where DataView's bigint accessors would allocate. */

/** Writes a whole number from 0 to 2^53 in 8 bytes at `at`. */
export function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 4294967296), true);
}

/** A 64-bit number; values above 2^53 (damage, never ours) come back inexact and fail the checks of the caller. */
export function getU64(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 4294967296;
}

/** A view of exactly these bytes, whatever buffer they lie in. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

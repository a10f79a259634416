/**
 * Sealed blocks made and opened without the addon: by node:crypto and by @noble/ciphers, from the specification in
 * native/block-format.h. Offsets are typed out here on purpose: the golden test must not learn them from the addon.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { gcm } from '@noble/ciphers/aes.js';
import { crc32c } from '../../src/base/crc32c.js';

export interface BlockPlan {
  readonly dataKey: Uint8Array;
  /** 0: plain. */
  readonly keyNumber: number;
  readonly salt: Uint8Array;
  readonly epoch: number;
  readonly counter: number;
  readonly generation: number;
  readonly index: number;
  readonly plain: Uint8Array;
}

export type Cipher = 'node:crypto' | '@noble/ciphers';

export function blockKey(dataKey: Uint8Array, salt: Uint8Array): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', dataKey, salt, 'galleon block key v1', 32));
}

export function additionalData(index: number, flags: number, plainBytes: number): Uint8Array {
  const out = new Uint8Array(16);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(index), true);
  out[8] = flags;
  out[9] = Math.log2(plainBytes);
  view.setUint32(12, plainBytes, true);
  return out;
}

export function encrypt(
  cipher: Cipher,
  key: Uint8Array,
  nonce: Uint8Array,
  more: Uint8Array,
  plain: Uint8Array,
): Uint8Array {
  if (cipher === '@noble/ciphers') return gcm(key, nonce, more).encrypt(plain);
  const sealing = createCipheriv('aes-256-gcm', key, nonce);
  sealing.setAAD(more);
  return Buffer.concat([sealing.update(plain), sealing.final(), sealing.getAuthTag()]);
}

/** Throws when the tag does not match. */
export function decrypt(
  cipher: Cipher,
  key: Uint8Array,
  nonce: Uint8Array,
  more: Uint8Array,
  text: Uint8Array,
  tag: Uint8Array,
): Uint8Array {
  if (cipher === '@noble/ciphers') return gcm(key, nonce, more).decrypt(Buffer.concat([text, tag]));
  const opening = createDecipheriv('aes-256-gcm', key, nonce);
  opening.setAAD(more);
  opening.setAuthTag(tag);
  return Buffer.concat([opening.update(text), opening.final()]);
}

/** The whole sealed block, padding included. */
export function sealReference(cipher: Cipher, block: BlockPlan): Uint8Array {
  const plainBytes = block.plain.length;
  const out = new Uint8Array(plainBytes + plainBytes / 64);
  const view = new DataView(out.buffer);
  const flags = block.keyNumber === 0 ? 1 : 0;
  view.setUint32(0, block.epoch, true);
  view.setBigUint64(4, BigInt(block.counter), true);
  out.set(block.salt, 28);
  view.setUint32(44, block.keyNumber, true);
  const generation = new Uint8Array(8);
  new DataView(generation.buffer).setBigUint64(0, BigInt(block.generation), true);
  out.set(generation.subarray(0, 6), 48);
  out[54] = flags;
  out[55] = Math.log2(plainBytes);
  view.setUint32(56, plainBytes, true);
  const more = additionalData(block.index, flags, plainBytes);
  const nonce = out.slice(0, 12);
  if (flags === 1) {
    view.setUint32(12, crc32c(Buffer.concat([more, nonce, block.salt, block.plain])), true);
    out.set(block.plain, 64);
  } else {
    const sealed = encrypt(cipher, blockKey(block.dataKey, block.salt), nonce, more, block.plain);
    out.set(sealed.subarray(0, plainBytes), 64);
    out.set(sealed.subarray(plainBytes), 12);
  }
  fixHeaderCrc(out);
  return out;
}

/** Makes the header's own checksum right again after a change. */
export function fixHeaderCrc(sealed: Uint8Array): void {
  new DataView(sealed.buffer, sealed.byteOffset).setUint32(60, crc32c(sealed.subarray(0, 60)), true);
}

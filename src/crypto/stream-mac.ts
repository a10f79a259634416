import { createHmac, timingSafeEqual } from 'node:crypto';

/** What a sealed stream is proven with: its data key's, and never the data key itself. The caller wipes it. */
export function streamMacKeyOf(dataKey: Uint8Array): Uint8Array {
  return createHmac('sha256', dataKey).update('galleon stream v1').digest();
}

/** HMAC-SHA256 in hexadecimal. */
export function streamMacOf(macKey: Uint8Array, digest: Uint8Array): string {
  return createHmac('sha256', macKey).update(digest).digest('hex');
}

export function streamMacMatches(macKey: Uint8Array, digest: Uint8Array, mac: string): boolean {
  const wanted = Buffer.from(mac, 'hex');
  const found = Buffer.from(streamMacOf(macKey, digest), 'hex');
  return wanted.length === found.length && timingSafeEqual(wanted, found);
}

/**
 * Small files and records with a checksum that a person can still read: one line of JSON whose last field is the
 * CRC32C of the line without it, in hexadecimal: `{"format":1,...,"crc32c":"0123abcd"}` and a newline.
 */
import { crc32c } from '../base/crc32c.js';

const PATTERN = /^(\{.*),"crc32c":"([0-9a-f]{8})"\}\n?$/s;

/** `fields` has at least one field. */
export function encodeChecked(fields: object): Uint8Array {
  const body = JSON.stringify(fields);
  const checksum = checksumOf(body);
  return new TextEncoder().encode(`${body.slice(0, -1)},"crc32c":"${checksum}"}\n`);
}

/** The fields, of unknown shape, or null when these are not the bytes that were written. */
export function decodeChecked(bytes: Uint8Array): unknown {
  try {
    const match = PATTERN.exec(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
    if (match === null) return null;
    const body = `${match[1] ?? ''}}`;
    return checksumOf(body) === match[2] ? (JSON.parse(body) as unknown) : null;
  } catch {
    return null;
  }
}

function checksumOf(body: string): string {
  return crc32c(new TextEncoder().encode(body)).toString(16).padStart(8, '0');
}

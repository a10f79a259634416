/**
 * Messages of the handshake. Big-endian.
 *
 *   greeting (server)              option (client)                option reply (server)
 *   0   8  'NBDMAGIC'              0   8  'IHAVEOPT'              0   8  0x0003e889045565a9
 *   8   8  'IHAVEOPT'              8   4  option                  8   4  the option replied to
 *   16  2  handshake flags         12  4  length of data          12  4  reply type
 *                                  16     data                    16  4  length of data
 *   client flags (client): 4                                      20     data
 *
 *   data of INFO and GO:           name length (4), name, number of requests (2), information type (2) each
 *   data of LIST/SET_META_CONTEXT: name length (4), name, number of queries (4), each: length (4), query
 *   reply SERVER:                  name length (4), name, description
 *   reply INFO:                    information type (2), then EXPORT: size (8), transmission flags (2)
 *                                  NAME: name   DESCRIPTION: text   BLOCK_SIZE: minimum, preferred, maximum (4 each)
 *   reply META_CONTEXT:            id (4), name
 *   reply to EXPORT_NAME:          size (8), transmission flags (2), 124 zeros unless NO_ZEROES (no reply header)
 *
 * The decoders answer null for data that does not follow this form, to the last byte.
 */
import {
  NBD_FLAG_FIXED_NEWSTYLE,
  NBD_FLAG_NO_ZEROES,
  NBD_INFO_BLOCK_SIZE,
  NBD_INFO_EXPORT,
  NBD_INIT_PASSWD,
  NBD_OPTS_MAGIC,
  NBD_REP_INFO,
  NBD_REP_META_CONTEXT,
  NBD_REP_MAGIC,
  NBD_REP_SERVER,
  NBD_STRING_BYTES_MAX,
} from './constants.js';

export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
const REPLY_HEADER_BYTES = 20;
const EXPORT_NAME_ZEROES_BYTES = 124;
const TWO_POW_32 = 0x1_0000_0000;

export interface OptionHeader {
  readonly option: number;
  readonly lengthBytes: number;
}

export interface InfoRequest {
  readonly name: string;
  readonly information: readonly number[];
}

export interface MetaContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** null: not an option. `bytes` holds at least OPTION_HEADER_BYTES. */
export function decodeOptionHeader(bytes: Buffer): OptionHeader | null {
  if (bytes.readUInt32BE(0) !== NBD_OPTS_MAGIC[0] || bytes.readUInt32BE(4) !== NBD_OPTS_MAGIC[1]) return null;
  return { option: bytes.readUInt32BE(8), lengthBytes: bytes.readUInt32BE(12) };
}

/** A string: UTF-8 without NUL, at most 4096 bytes. */
export function decodeString(bytes: Buffer): string | null {
  if (bytes.length > NBD_STRING_BYTES_MAX || bytes.includes(0)) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The data of INFO and GO, or null. */
export function decodeInfoRequest(data: Buffer): InfoRequest | null {
  if (data.length < 6) return null;
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 6) return null;
  const name = decodeString(data.subarray(4, 4 + nameBytes));
  const count = data.readUInt16BE(4 + nameBytes);
  if (name === null || data.length !== 6 + nameBytes + 2 * count) return null;
  const information: number[] = [];
  for (let i = 0; i < count; i += 1) information.push(data.readUInt16BE(6 + nameBytes + 2 * i));
  return { name, information };
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT, or null. */
export function decodeMetaContextRequest(data: Buffer): MetaContextRequest | null {
  if (data.length < 8) return null;
  const nameBytes = data.readUInt32BE(0);
  if (nameBytes > data.length - 8) return null;
  const name = decodeString(data.subarray(4, 4 + nameBytes));
  if (name === null) return null;
  const count = data.readUInt32BE(4 + nameBytes);
  const queries: string[] = [];
  let at = 8 + nameBytes;
  // Every query has four bytes of its own, so a lying count ends here after as many turns as there are data.
  for (let i = 0; i < count; i += 1) {
    if (data.length - at < 4) return null;
    const queryBytes = data.readUInt32BE(at);
    at += 4;
    if (queryBytes > data.length - at) return null;
    const query = decodeString(data.subarray(at, at + queryBytes));
    if (query === null) return null;
    queries.push(query);
    at += queryBytes;
  }
  return at === data.length ? { name, queries } : null;
}

export function encodeGreeting(): Buffer {
  const bytes = Buffer.alloc(18);
  bytes.writeUInt32BE(NBD_INIT_PASSWD[0], 0);
  bytes.writeUInt32BE(NBD_INIT_PASSWD[1], 4);
  bytes.writeUInt32BE(NBD_OPTS_MAGIC[0], 8);
  bytes.writeUInt32BE(NBD_OPTS_MAGIC[1], 12);
  bytes.writeUInt16BE(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES, 16);
  return bytes;
}

export function encodeOptionReply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const bytes = Buffer.alloc(REPLY_HEADER_BYTES + data.length);
  bytes.writeUInt32BE(NBD_REP_MAGIC[0], 0);
  bytes.writeUInt32BE(NBD_REP_MAGIC[1], 4);
  bytes.writeUInt32BE(option, 8);
  bytes.writeUInt32BE(type, 12);
  bytes.writeUInt32BE(data.length, 16);
  bytes.set(data, REPLY_HEADER_BYTES);
  return bytes;
}

export function encodeServer(option: number, name: string, description: string): Buffer {
  const nameBytes = Buffer.byteLength(name);
  const data = Buffer.alloc(4 + nameBytes + Buffer.byteLength(description));
  data.writeUInt32BE(nameBytes, 0);
  data.write(name, 4);
  data.write(description, 4 + nameBytes);
  return encodeOptionReply(option, NBD_REP_SERVER, data);
}

export function encodeInfoExport(option: number, sizeBytes: number, transmissionFlags: number): Buffer {
  const data = Buffer.alloc(12);
  data.writeUInt16BE(NBD_INFO_EXPORT, 0);
  writeSize(data, 2, sizeBytes);
  data.writeUInt16BE(transmissionFlags, 10);
  return encodeOptionReply(option, NBD_REP_INFO, data);
}

export function encodeInfoBlockSize(option: number, minimum: number, preferred: number, maximum: number): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16BE(NBD_INFO_BLOCK_SIZE, 0);
  data.writeUInt32BE(minimum, 2);
  data.writeUInt32BE(preferred, 6);
  data.writeUInt32BE(maximum, 10);
  return encodeOptionReply(option, NBD_REP_INFO, data);
}

/** NAME or DESCRIPTION. */
export function encodeInfoText(option: number, information: number, text: string): Buffer {
  const data = Buffer.alloc(2 + Buffer.byteLength(text));
  data.writeUInt16BE(information, 0);
  data.write(text, 2);
  return encodeOptionReply(option, NBD_REP_INFO, data);
}

export function encodeMetaContext(option: number, id: number, name: string): Buffer {
  const data = Buffer.alloc(4 + Buffer.byteLength(name));
  data.writeUInt32BE(id, 0);
  data.write(name, 4);
  return encodeOptionReply(option, NBD_REP_META_CONTEXT, data);
}

export function encodeExportNameReply(sizeBytes: number, transmissionFlags: number, zeroes: boolean): Buffer {
  const bytes = Buffer.alloc(10 + (zeroes ? EXPORT_NAME_ZEROES_BYTES : 0));
  writeSize(bytes, 0, sizeBytes);
  bytes.writeUInt16BE(transmissionFlags, 8);
  return bytes;
}

function writeSize(bytes: Buffer, at: number, sizeBytes: number): void {
  bytes.writeUInt32BE(Math.floor(sizeBytes / TWO_POW_32), at);
  bytes.writeUInt32BE(sizeBytes % TWO_POW_32, at + 4);
}

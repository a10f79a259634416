/**
 * A snapshot, or what changed since an earlier one, as bytes for a file or a pipe. Little-endian.
 *
 *   head    0   8  'GFSSTRM\n'
 *           8   4  format version, 1; a newer one is refused
 *           12  4  CRC32C of bytes 0 to 11
 *
 *   frame   0   4  kind: 1 BEGIN, 2 DATA, 3 ZERO, 4 END, 5 SEALED
 *           4   4  number of the frame, from 0
 *           8   8  offset of its range in the volume (DATA, ZERO, SEALED; 0 otherwise)
 *           16  8  length of its range in bytes (DATA, ZERO, SEALED; 0 otherwise)
 *           24  4  length of the payload in bytes: DATA that of the range, SEALED 65/64 of it, ZERO 0
 *           28  4  CRC32C of the payload
 *           32  4  CRC32C of bytes 0 to 31
 *           36     payload: DATA the bytes; SEALED the blocks of the range as they lie in a journal; BEGIN and END a JSON
 *                  object
 *
 * BEGIN comes first and END last, each once: a stream without END was cut. Ranges ascend and do not overlap. In a stream
 * from nothing, what no frame covers reads as zeros; in a difference, it is as in the snapshot that it starts from. END
 * repeats how much came, so that frames that vanished between two whole ones are noticed even if somebody renumbered them.
 *
 * A plain stream has DATA and no SEALED, a sealed one the reverse. A sealed block is a header of 64 bytes and the
 * ciphertext behind it, in all 65/64 of the plaintext (native/block-format.h), of generation 0 and under the data key number
 * of its sender. BEGIN carries these keys, wrapped as the sender keeps them.
 *
 * Checksums are against accidents. A plain stream has no secrets kept and no signature: whoever can read it reads the
 * data, whoever can change it changes it. A sealed one keeps what is in the blocks, and END proves it: its `mac` is under the
 * last of the keys, over a SHA-256 digest of everything before END, of blocks only the headers, whose tags stand for the rest.
 */
import { z } from 'zod';
import { VOLUME_BYTES_MAX } from '../model/limits.js';
import { STREAM_KEY_CHARACTERS_MAX, STREAM_KEYS_MAX } from './limits.js';

export const STREAM_MAGIC = Buffer.from('GFSSTRM\n', 'latin1');
export const STREAM_VERSION = 1;
export const HEAD_BYTES = 16;
export const FRAME_HEADER_BYTES = 36;

export const FrameKind = { BEGIN: 1, DATA: 2, ZERO: 3, END: 4, SEALED: 5 } as const;
export const SEALED_HEADER_BYTES = 64;

/** Bytes of so much plaintext (whole blocks) as sealed blocks. */
export function sealedBytesOf(plainBytes: number): number {
  return plainBytes + plainBytes / 64;
}

/** CRC32C of bytes [offset, offset + length), continuing from `seed` (0 to start). */
export type Crc32c = (bytes: Uint8Array, offset: number, length: number, seed: number) => number;

const id = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const point = z.strictObject({ id, name: z.string().min(1).max(256) });

const common = {
  volume: point,
  /** What it is a snapshot of; `id` names it in every node that has received it. */
  snapshot: z.strictObject({ ...point.shape, createdAtMs: z.number().int().min(0) }),
  /** null: from nothing. */
  from: point.nullable(),
  sizeBytes: z.number().int().min(1).max(VOLUME_BYTES_MAX),
  blockBytes: z.number().int().min(1),
  /** Whether the volume was encrypted where it came from. */
  encrypted: z.boolean(),
};

const plainBegin = z.strictObject({
  /** The bytes as clients read them. */
  mode: z.literal('plain'),
  ...common,
});

const sealedBegin = z.strictObject({
  /** Blocks as they are sealed, under the data keys of the sender. */
  mode: z.literal('sealed'),
  ...common,
  blockBytes: z.number().int().min(4096).multipleOf(64),
  /** The node that sends, and the id of the master key that wraps these; '' where that is not known. */
  nodeId: id,
  masterKeyId: z.string().max(64),
  /** Every key that a block may be under; `record` in base64, as the vault of the sender keeps it. */
  keys: z
    .array(
      z.strictObject({
        number: z.number().int().min(1).max(0xffffffff),
        record: z.base64().min(1).max(STREAM_KEY_CHARACTERS_MAX),
      }),
    )
    .min(1)
    .max(STREAM_KEYS_MAX)
    .refine((keys) => new Set(keys.map(({ number }) => number)).size === keys.length),
});

export const streamBegin = z.discriminatedUnion('mode', [plainBegin, sealedBegin]);
export type PlainBegin = z.infer<typeof plainBegin>;
export type SealedBegin = z.infer<typeof sealedBegin>;
export type StreamBegin = z.infer<typeof streamBegin>;

export const streamEnd = z.strictObject({
  /** Frames before this one. */
  frames: z.number().int().min(1),
  dataBytes: z.number().int().min(0),
  zeroBytes: z.number().int().min(0),
  /** Of a sealed stream. */
  mac: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});
export type StreamEnd = z.infer<typeof streamEnd>;

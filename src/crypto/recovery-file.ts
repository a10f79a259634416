/**
 * A recovery file: the data keys of a node, wrapped under a passphrase instead of the master key. One line of JSON:
 *
 *   {"format":1,"kind":"galleon recovery","nodeId":UUID,"madeAtMs":n,
 *    "kdf":"scrypt","N":n,"r":n,"p":n,"salt":base64,
 *    "volumes":[{"id":UUID,"name":text,"keys":[number...]}...],
 *    "keys":[{"number":n,"madeAtMs":n,"wrapped":base64,"check":hex}...],
 *    "mac":hex,"crc32c":hex} and a newline
 *
 *   scrypt   (RFC 7914) over passphrase and salt gives 64 bytes: the wrapping key, then the key of `mac`
 *   wrapped  the data key under the wrapping key by AES key wrap (RFC 3394): 40 bytes
 *   check    keyCheckOf the data key, as its copies on the node have it
 *   mac      HMAC-SHA256 over the JSON of all fields before it: a wrong passphrase is told from a file that was changed
 *            only by `crc32c`, which is as checked-json.ts says and needs no passphrase
 *
 * Volumes are there so that people, and the import, can say what a key is for. Names are not secret.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Clock, Random } from '../base/clock.js';
import { decodeChecked, encodeChecked } from './checked-json.js';
import { CryptoError } from './crypto-error.js';
import { keyCheckMatches, keyCheckOf, unwrapKey, wrapKey } from './key-wrap.js';
import {
  DATA_KEY_NUMBER_MAX,
  MASTER_KEY_BYTES,
  SCRYPT_MEMORY_BYTES_MAX,
  SCRYPT_N,
  SCRYPT_P,
  SCRYPT_P_MAX,
  SCRYPT_R,
  SCRYPT_SALT_BYTES,
} from './limits.js';
import { stretch, type ScryptCost } from './passphrase-key-provider.js';

export interface RecoverableKey {
  readonly number: number;
  readonly madeAtMs: number;
  /** 32 bytes; whoever made the list wipes them. */
  readonly secret: Uint8Array;
}

export interface RecoveryVolume {
  readonly id: string;
  readonly name: string;
  /** Numbers of the data keys that it needs. */
  readonly keys: readonly number[];
}

export interface RecoveryContent {
  readonly nodeId: string;
  readonly volumes: readonly RecoveryVolume[];
  readonly keys: readonly RecoverableKey[];
}

const shape = z
  .strictObject({
    format: z.literal(1),
    kind: z.literal('galleon recovery'),
    nodeId: z.uuid(),
    madeAtMs: z.number().int().min(0),
    kdf: z.literal('scrypt'),
    N: z.number().int().min(2),
    r: z.number().int().min(1),
    p: z.number().int().min(1).max(SCRYPT_P_MAX),
    salt: z.base64(),
    volumes: z.array(
      z.strictObject({
        id: z.string(),
        name: z.string(),
        keys: z.array(z.number().int().min(1).max(DATA_KEY_NUMBER_MAX)),
      }),
    ),
    keys: z.array(
      z.strictObject({
        number: z.number().int().min(1).max(DATA_KEY_NUMBER_MAX),
        madeAtMs: z.number().int().min(0),
        wrapped: z.base64(),
        check: z.string().regex(/^[0-9a-f]{32}$/),
      }),
    ),
    mac: z.string().regex(/^[0-9a-f]{64}$/),
  })
  .refine(({ N }) => Number.isInteger(Math.log2(N)))
  .refine(({ N, r }) => 128 * N * r <= SCRYPT_MEMORY_BYTES_MAX);

/** The bytes of the file. `passphrase` and the secrets are only read. `scryptN`: tests take less. */
export async function encodeRecovery(
  content: RecoveryContent,
  passphrase: Uint8Array,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  scryptN = SCRYPT_N,
): Promise<Uint8Array> {
  const salt = random.bytes(SCRYPT_SALT_BYTES);
  const cost = { N: scryptN, r: SCRYPT_R, p: SCRYPT_P };
  const { wrapping, authenticating } = await keysFrom(passphrase, salt, cost);
  try {
    const fields = {
      format: 1,
      kind: 'galleon recovery',
      nodeId: content.nodeId,
      madeAtMs: Math.trunc(clock.wallMs()),
      kdf: 'scrypt',
      ...cost,
      salt: Buffer.from(salt).toString('base64'),
      volumes: content.volumes.map(({ id, name, keys }) => ({ id, name, keys })),
      keys: content.keys.map(({ number, madeAtMs, secret }) => ({
        number,
        madeAtMs,
        wrapped: Buffer.from(wrapKey(wrapping, secret)).toString('base64'),
        check: keyCheckOf(secret),
      })),
    };
    return encodeChecked({ ...fields, mac: macOf(authenticating, fields) });
  } finally {
    wrapping.fill(0);
    authenticating.fill(0);
  }
}

/**
 * What the file holds; the caller wipes the secrets. Throws CryptoError: DAMAGED when these are not the bytes that were
 * written, WRONG_KEY for another passphrase, or for a file that was made up.
 */
export async function decodeRecovery(
  bytes: Uint8Array,
  passphrase: Uint8Array,
  subject: string,
): Promise<RecoveryContent> {
  const parsed = shape.safeParse(decodeChecked(bytes));
  if (!parsed.success) {
    const message = `${subject} is damaged, no recovery file, or one of a newer version`;
    throw new CryptoError(message, { code: 'DAMAGED', subject });
  }
  const { mac, ...fields } = parsed.data;
  const { wrapping, authenticating } = await keysFrom(passphrase, Buffer.from(fields.salt, 'base64'), fields);
  try {
    if (!timingSafeEqual(Buffer.from(macOf(authenticating, fields), 'hex'), Buffer.from(mac, 'hex'))) {
      throw wrongPassphrase(subject);
    }
    const keys = fields.keys.map(({ number, madeAtMs, wrapped, check }) => {
      const secret = unwrapKey(wrapping, Uint8Array.from(Buffer.from(wrapped, 'base64')));
      if (secret === null || !keyCheckMatches(secret, check)) throw wrongPassphrase(subject);
      return { number, madeAtMs, secret };
    });
    return { nodeId: fields.nodeId, volumes: fields.volumes, keys };
  } finally {
    wrapping.fill(0);
    authenticating.fill(0);
  }
}

function wrongPassphrase(subject: string): CryptoError {
  const message = `the passphrase is not the one that ${subject} was made with`;
  return new CryptoError(message, { code: 'WRONG_KEY', provider: 'recovery', keyNumber: 0 });
}

async function keysFrom(
  passphrase: Uint8Array,
  salt: Uint8Array,
  { N, r, p }: ScryptCost,
): Promise<{ readonly wrapping: Uint8Array; readonly authenticating: Uint8Array }> {
  const derived = await stretch(passphrase, salt, { N, r, p }, 2 * MASTER_KEY_BYTES);
  const wrapping = derived.slice(0, MASTER_KEY_BYTES);
  const authenticating = derived.slice(MASTER_KEY_BYTES);
  derived.fill(0);
  return { wrapping, authenticating };
}

/** Field order counts: both sides build the object in the order of the format. */
function macOf(key: Uint8Array, fields: object): string {
  return createHmac('sha256', key).update(JSON.stringify(fields)).digest('hex');
}

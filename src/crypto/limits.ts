import { assert } from '../base/assert.js';

export const DATA_KEY_BYTES = 32;
export const MASTER_KEY_BYTES = 32;
export const DATA_KEY_NUMBER_MAX = 0xffffffff;

export const PASSPHRASE_BYTES_MAX = 1024;
/** Below this a passphrase is taken, with a warning. */
export const PASSPHRASE_BYTES_ADVISED = 12;

/** What new passphrases are stretched with: 128 MiB and some hundred milliseconds (RFC 7914 section 2: N, r, p). */
export const SCRYPT_N = 2 ** 17;
export const SCRYPT_R = 8;
export const SCRYPT_P = 1;
/** Stored parameters may be larger, but not so large that a start exhausts the machine: scrypt takes 128 * N * r bytes. */
export const SCRYPT_MEMORY_BYTES_MAX = 1024 ** 3;
export const SCRYPT_P_MAX = 16;
export const SCRYPT_SALT_BYTES = 32;

/** Wrapped copies that a change of the master key holds in memory at a time. */
export const ROTATION_COPIES_PER_STEP = 100;

export const COMMAND_TIMEOUT_MS = 10_000;
export const COMMAND_OUTPUT_BYTES_MAX = 64 * 1024;
/** A wrapped key from a user's program may carry its own envelope. */
export const WRAPPED_BYTES_MAX = 16 * 1024;
export const STDERR_CHARACTERS_SHOWN = 400;

assert(128 * SCRYPT_N * SCRYPT_R <= SCRYPT_MEMORY_BYTES_MAX, 'what we write we can read');
assert(COMMAND_OUTPUT_BYTES_MAX >= WRAPPED_BYTES_MAX * 2, 'a wrapped key fits into the output in base64');

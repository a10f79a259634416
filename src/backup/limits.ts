import { assert } from '../base/assert.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Data of one frame. */
export const FRAME_DATA_BYTES_MAX = MIB;
/** Plaintext of one frame of sealed blocks: whole ones, whatever their size, that fit a frame with their headers. */
export const FRAME_SEALED_BYTES_MAX = 960 * KIB;
/** What a BEGIN or END says of itself: names, numbers, wrapped keys. */
export const FRAME_TEXT_BYTES_MAX = MIB;
/** Data keys that the blocks of one stream may be under. */
export const STREAM_KEYS_MAX = 30;
/** A wrapped key in base64, as the node that sends it keeps it. */
export const STREAM_KEY_CHARACTERS_MAX = 32 * KIB;

assert(FRAME_SEALED_BYTES_MAX + FRAME_SEALED_BYTES_MAX / 64 <= FRAME_DATA_BYTES_MAX, 'sealed blocks fit a frame');
assert(FRAME_SEALED_BYTES_MAX % (64 * KIB) === 0, 'a frame has whole blocks of every size');
assert(STREAM_KEYS_MAX * STREAM_KEY_CHARACTERS_MAX + 32 * KIB <= FRAME_TEXT_BYTES_MAX, 'the keys fit a BEGIN');
assert(FRAME_TEXT_BYTES_MAX <= FRAME_DATA_BYTES_MAX, 'one bound holds for every frame');

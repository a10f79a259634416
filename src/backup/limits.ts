import { assert } from '../base/assert.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Data of one frame. */
export const FRAME_DATA_BYTES_MAX = MIB;
/** What a BEGIN or END says of itself: names and numbers. */
export const FRAME_TEXT_BYTES_MAX = 16 * KIB;

assert(FRAME_TEXT_BYTES_MAX <= FRAME_DATA_BYTES_MAX, 'one bound holds for every frame');

import { assert } from '../base/assert.js';
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, VOLUME_BYTES_MAX } from '../model/limits.js';
import {
  BLOCK_BYTES_MAX as STORED_BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN as STORED_BLOCK_BYTES_MIN,
  LAYER_BLOCKS_MAX,
} from '../store/limits.js';

/** A CACHE request reads this much at a time. */
export const CACHE_STEP_BYTES = 1024 * 1024;
/** How old a figure of the file system's space may be in a report. */
export const SPACE_AGE_MS = 1000;

assert(CACHE_STEP_BYTES % BLOCK_BYTES_MAX === 0, 'a CACHE request reads whole blocks of every size');
assert(
  BLOCK_BYTES_MIN >= STORED_BLOCK_BYTES_MIN && BLOCK_BYTES_MAX <= STORED_BLOCK_BYTES_MAX,
  'the store takes the blocks of every volume',
);
assert(VOLUME_BYTES_MAX / BLOCK_BYTES_MIN <= LAYER_BLOCKS_MAX, 'the largest volume fits a layer');

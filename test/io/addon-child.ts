/** Loads the addon and says so. */
import { RECORD } from '../../src/io/record-layout.js';

console.log(`magic ${RECORD.MAGIC.toString(16)}`);

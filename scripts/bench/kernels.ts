/**
 * Microseconds per 4 KiB block of the two batch kernels, in batches of 1, 32 and 256: `npx tsx scripts/bench/kernels.ts`
 * (a folder to write to may follow; the default is the system's temporary one). Appends go to a file that was written
 * before, as the journal's recycled segments are; reads find everything in the page cache.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NativeFiles } from '../../src/io/native-files.js';
import { NativeBlockKeys } from '../../src/io/native-keys.js';
import { OpenBatch } from '../../src/io/open-batch.js';
import { RECORD, storedBytesOf } from '../../src/io/record-layout.js';
import { SealBatch } from '../../src/io/seal-batch.js';

const PLAIN_BYTES = 4096;
const STORED_BYTES = storedBytesOf(PLAIN_BYTES);
const HEADER_BYTES = 128;
const FILE_BYTES = 64 * 1024 * 1024;
const ROUND_BLOCKS = 32_768;
const ROUNDS = 5;

const files = new NativeFiles();
const keys = new NativeBlockKeys();
const folder = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'bench-kernels-'));

try {
  const file = await files.open(join(folder, 'segment'), 'create');
  await files.fillZeros(file, 0, FILE_BYTES);
  const keyring = keys.createKeyring(true);
  keys.addDataKey(keyring, 1, new Uint8Array(32).fill(7));
  const salt = new Uint8Array(16).fill(9);
  for (const keyNumber of [1, 0]) {
    const key = keys.createSealingKey(keyring, keyNumber, salt);
    let counter = 0;
    for (const blocks of [1, 32, 256]) {
      const source = new Uint8Array(blocks * PLAIN_BYTES).fill(0x5a);
      const seal = new SealBatch();
      const recordBytes = HEADER_BYTES + blocks * STORED_BYTES;
      // An append writes zeros up to the end of its last page: the next slot begins behind that.
      const slotBytes = Math.ceil(recordBytes / 4096) * 4096;
      const slots = Math.floor(FILE_BYTES / slotBytes);

      const fill = (): void => {
        seal.clear();
        seal.sources.push(source);
        const at = seal.reserveHeader(HEADER_BYTES);
        new DataView(seal.headers.buffer).setUint32(at + RECORD.HEADER_BYTES_AT, HEADER_BYTES, true);
        for (let n = 0; n < blocks; n += 1) seal.addBlock(0, n * PLAIN_BYTES, key, 1, n, counter++);
        seal.addRecord(at, HEADER_BYTES, 0, blocks, PLAIN_BYTES);
      };
      const appendUs = best(blocks, (turn) => {
        fill();
        const status = files.appendNow(file, (turn % slots) * slotBytes, seal);
        if (status !== 0) throw new Error(`append: ${String(status)}`);
      });

      const open = new OpenBatch();
      const into = new Uint8Array(blocks * PLAIN_BYTES);
      const openUs = (scattered: boolean): number =>
        best(blocks, (turn) => {
          open.clear();
          open.destinations.push(into);
          for (let n = 0; n < blocks; n += 1) {
            // Scattered: backwards, so that no two rows are read together.
            const row = scattered ? blocks - 1 - n : n;
            const at = (turn % Math.min(slots, 8)) * slotBytes + HEADER_BYTES + row * STORED_BYTES;
            open.add(file, at, STORED_BYTES, 0, row, keyring, 0, n * PLAIN_BYTES, PLAIN_BYTES);
          }
          const misses = files.openNow(open);
          if (misses !== 0 || open.status[0] !== 0)
            throw new Error(`open: ${String(misses)} ${String(open.status[0])}`);
        });
      const kind = keyNumber === 0 ? 'plain    ' : 'encrypted';
      const figures = [appendUs, openUs(false), openUs(true)].map((us) => us.toFixed(2));
      console.log(
        `${kind} batch ${String(blocks).padStart(3)}: seal+append ${figures[0] ?? ''} us, ` +
          `read+open ${figures[1] ?? ''} us in a row, ${figures[2] ?? ''} us scattered`,
      );
    }
  }
  await files.close(file);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The best of some rounds, in microseconds per block: the machine may be busy with something else in the others. */
function best(blocks: number, turnOf: (turn: number) => void): number {
  const turns = Math.ceil(ROUND_BLOCKS / blocks);
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    const start = performance.now();
    for (let turn = 0; turn < turns; turn += 1) turnOf(turn);
    least = Math.min(least, ((performance.now() - start) * 1000) / (turns * blocks));
  }
  return least;
}

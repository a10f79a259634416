import { join } from 'node:path';
import { MAP_CACHE_BYTES_DEFAULT } from '../../../src/store/limits.js';
import { BARS } from '../bars.js';
import { atMost, type Figure, showMib, told } from '../figure.js';
import { runFio } from '../fio.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { residentBytes } from '../process-usage.js';
import { formatRate } from '../rounds.js';
import { workNamed } from '../works.js';

const FOLDER = 'terabyte';
const VOLUME = 'vast';
const SIZE_BYTES = 2 ** 40;
/** Long enough for many more leaves than the cache holds. */
const SECONDS = 40;
const QUICK_SECONDS = 1;
const SAMPLE_MS = 100;
const DISK_BYTES = 24 * 2 ** 30;

/** Memory while a volume of 1 TiB is written at random: its map is far larger than the cache. */
export const terabyteFigure: Figure = {
  name: 'terabyte',
  title: 'memory with a 1 TiB volume written at random',
  needs: ['fio'],
  run: async ({ bed, quick, say }) => {
    await bed.wantSpace(quick ? 2 ** 30 : DISK_BYTES, 'terabyte');
    const daemon = await GalleonDaemon.start(bed, join(bed.emptied(FOLDER), 'storage'));
    await daemon.createVolume(VOLUME, SIZE_BYTES, 'encrypted-storage');
    await daemon.exportVolume(VOLUME);
    let anonymous = 0;
    let resident = 0;
    const sample = (): void => {
      const now = residentBytes(daemon.server.pid);
      anonymous = Math.max(anonymous, now.anonymous);
      resident = Math.max(resident, now.resident);
    };
    const sampling = setInterval(sample, SAMPLE_MS);
    try {
      const seconds = quick ? QUICK_SECONDS : SECONDS;
      const run = { uri: daemon.uri(VOLUME), sizeBytes: SIZE_BYTES, seconds, seed: 1 };
      const { operationsPerSecond } = await runFio(bed.children, bed.scratch, workNamed('rand-write-32'), run);
      say(`terabyte: ${formatRate(operationsPerSecond)} random writes a second for ${seconds} s`);
      sample();
    } finally {
      clearInterval(sampling);
    }
    await daemon.kill9();
    bed.removed(FOLDER);
    const bar = MAP_CACHE_BYTES_DEFAULT + BARS.terabyteBytesAboveCache;
    return [
      atMost('memory with 1 TiB written at random', anonymous, bar, showMib),
      // LMDB maps its file: those pages are the page cache's, and the kernel takes them back when it needs them.
      told('the same with mapped files', resident, showMib),
    ];
  },
};

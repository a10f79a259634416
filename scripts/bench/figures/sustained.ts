import { BARS } from '../bars.js';
import { atLeast, type Figure, showPercent, told } from '../figure.js';
import { runFio } from '../fio.js';
import { join } from 'node:path';
import { GalleonDaemon } from '../galleon-daemon.js';
import { GIB } from '../measurement.js';
import { formatRate } from '../rounds.js';
import { FILL, workNamed } from '../works.js';

const FOLDER = 'sustained';
const VOLUME = 'busy';

interface Extent {
  readonly sizeBytes: number;
  readonly sliceSeconds: number;
  readonly slices: number;
  readonly bytesMax: number;
}

const FULL: Extent = { sizeBytes: 8 * GIB, sliceSeconds: 30, slices: 10, bytesMax: 30 * GIB };
const QUICK: Extent = { sizeBytes: GIB / 16, sliceSeconds: 1, slices: 3, bytesMax: GIB };

/** Random writes for minutes: whether the rate of the first half minute lasts. */
export const sustainedFigure: Figure = {
  name: 'sustained',
  title: 'random writes for five minutes or 30 GiB',
  needs: ['fio'],
  run: async ({ bed, quick, say }) => {
    const { sizeBytes, sliceSeconds, slices, bytesMax } = quick ? QUICK : FULL;
    // The working set, what is written over it, and as much as the last slice can be beyond the limit.
    await bed.wantSpace(1.1 * (sizeBytes + bytesMax) + bytesMax / 4, 'sustained');
    const daemon = await GalleonDaemon.start(bed, join(bed.emptied(FOLDER), 'storage'));
    await daemon.createVolume(VOLUME, sizeBytes, 'encrypted-storage');
    await daemon.exportVolume(VOLUME);
    const drive = { uri: daemon.uri(VOLUME), sizeBytes };
    await runFio(bed.children, bed.scratch, FILL, { ...drive, seconds: null, seed: 1 });
    await bed.settle();
    const rates: number[] = [];
    let bytes = 0;
    for (let slice = 0; slice < slices && bytes < bytesMax; slice += 1) {
      const run = { ...drive, seconds: sliceSeconds, seed: slice + 1 };
      const figures = await runFio(bed.children, bed.scratch, workNamed('rand-write-32'), run);
      bytes += figures.bytes;
      rates.push(figures.operationsPerSecond);
      say(`sustained: after ${(bytes / GIB).toFixed(1)} GiB ${formatRate(figures.operationsPerSecond)} IOPS`);
    }
    await daemon.kill9();
    bed.removed(FOLDER);
    const [first = 0, ...later] = rates;
    return [
      told(`the first ${sliceSeconds} s of random writes`, first, (rate) => `${formatRate(rate)} IOPS`),
      atLeast('the slowest later slice keeps', Math.min(...later) / first, BARS.sustainedShare, showPercent),
    ];
  },
};

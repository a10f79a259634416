import { join } from 'node:path';
import { BARS } from '../bars.js';
import { atMost, type Figure, showMs, told } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { median, quantile } from '../statistics.js';

const FOLDER = 'volumes';
const COUNT = 1000;
const QUICK_COUNT = 10;
const STARTS = 3;
const SIZE_BYTES = 2 ** 30;
const STORAGE_CLASS = 'encrypted-storage';

/** How long a volume takes to make, and a daemon with many of them to start. */
export const volumesFigure: Figure = {
  name: 'volumes',
  title: 'create latency, and start-up with 1,000 volumes',
  needs: [],
  run: async ({ bed, quick, say }) => {
    const count = quick ? QUICK_COUNT : COUNT;
    const storagePath = join(bed.emptied(FOLDER), 'storage');
    const createMs: number[] = [];
    const first = await GalleonDaemon.start(bed, storagePath);
    for (let n = 0; n < count; n += 1) {
      const name = `volume-${n}`;
      const startMs = performance.now();
      await first.createVolume(name, SIZE_BYTES, STORAGE_CLASS);
      createMs.push(performance.now() - startMs);
      await first.exportVolume(name);
    }
    await first.stop();
    const readyMs: number[] = [];
    for (let start = 0; start < STARTS; start += 1) {
      const daemon = await GalleonDaemon.start(bed, storagePath);
      readyMs.push(daemon.readyMs);
      say(`volumes: start ${start + 1} of ${STARTS}: ${showMs(daemon.readyMs)}`);
      await daemon.stop();
    }
    bed.removed(FOLDER);
    return [
      told('create a volume, median', median(createMs), showMs),
      told('create a volume, 99%', quantile(createMs, 0.99), showMs),
      atMost(`start with ${count} exported volumes`, median(readyMs), BARS.startMs, showMs),
    ];
  },
};

import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { BARS } from '../bars.js';
import { atMost, type Figure, showMib, showPercent } from '../figure.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { residentBytes, runSeconds } from '../process-usage.js';

const FOLDER = 'idle';
const SETTLE_MS = 5000;
const WATCH_MS = 30_000;
const QUICK_MS = 500;

/** What a daemon with one exported volume takes while nobody asks for anything. */
export const idleFigure: Figure = {
  name: 'idle',
  title: 'idle processor time and memory',
  needs: [],
  run: async ({ bed, quick, say }) => {
    const daemon = await GalleonDaemon.start(bed, join(bed.emptied(FOLDER), 'storage'));
    await daemon.createVolume('quiet', 2 ** 30, 'encrypted-storage');
    await daemon.exportVolume('quiet');
    // The start itself, and what it leaves to do in the background, is over by then.
    await setTimeout(quick ? QUICK_MS : SETTLE_MS);
    const watchMs = quick ? QUICK_MS : WATCH_MS;
    say(`idle: watching for ${watchMs / 1000} s`);
    const before = runSeconds(daemon.server.pid);
    const startMs = performance.now();
    await setTimeout(watchMs);
    const share = ((runSeconds(daemon.server.pid) - before) * 1000) / (performance.now() - startMs);
    const bytes = residentBytes(daemon.server.pid).resident;
    await daemon.stop();
    bed.removed(FOLDER);
    return [
      atMost('idle processor time, of one core', share, BARS.idleCpuShare, showPercent),
      atMost('idle resident memory', bytes, BARS.idleBytes, showMib),
    ];
  },
};

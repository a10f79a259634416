import { join } from 'node:path';
import { BARS } from '../bars.js';
import { BenchError } from '../bench-error.js';
import { atMost, type Figure, showMs, told } from '../figure.js';
import { runFio } from '../fio.js';
import { GalleonDaemon } from '../galleon-daemon.js';
import { GIB } from '../measurement.js';
import { median } from '../statistics.js';
import { workNamed } from '../works.js';

const FOLDER = 'recovery';
const VOLUME = 'crashed';
const STARTS = 3;
/** Neither the clock nor the length of the journal makes a checkpoint. */
const FLAGS = ['--checkpoint-interval', '1h', '--journal-size', '4G'];
const QUICK_BYTES = 32 * 2 ** 20;

/** Time to be ready again after `kill -9` with so much journal that no checkpoint covers. */
export const recoveryFigure: Figure = {
  name: 'recovery',
  title: 'recovery per GiB of journal',
  needs: ['fio'],
  run: async ({ bed, quick, sizeBytes, say }) => {
    const writeBytes = quick ? QUICK_BYTES : GIB;
    const storagePath = join(bed.emptied(FOLDER), 'storage');
    await bed.wantSpace(3 * writeBytes, 'recovery');
    let daemon = await GalleonDaemon.start(bed, storagePath, FLAGS);
    await daemon.createVolume(VOLUME, sizeBytes, 'encrypted-storage');
    await daemon.exportVolume(VOLUME);
    const run = { uri: daemon.uri(VOLUME), sizeBytes, seconds: null, seed: 1, bytes: writeBytes };
    await runFio(bed.children, bed.scratch, workNamed('rand-write-32'), run);

    const readyMs: number[] = [];
    const replayMs: number[] = [];
    for (let start = 0; start < STARTS; start += 1) {
      const { replayBytes } = await daemon.client.status();
      if (replayBytes < writeBytes) {
        throw new BenchError(`recovery: a checkpoint came in between: ${replayBytes} bytes are left to replay`);
      }
      await daemon.kill9();
      daemon = await GalleonDaemon.start(bed, storagePath, FLAGS);
      const replay = parseRecovery(String(daemon.log.find((line) => 'recovery' in line)?.['recovery']));
      if (replay.bytes < writeBytes) throw new BenchError(`recovery: only ${replay.bytes} bytes were replayed`);
      say(`recovery: ${replay.bytes} bytes in ${showMs(replay.ms)}, ready after ${showMs(daemon.readyMs)}`);
      readyMs.push((daemon.readyMs * GIB) / replay.bytes);
      replayMs.push((replay.ms * GIB) / replay.bytes);
    }
    await daemon.kill9();
    bed.removed(FOLDER);
    return [
      atMost('recovery per GiB of journal', median(replayMs), BARS.recoveryMsPerGib, showMs),
      told('kill -9 to ready, per GiB of journal', median(readyMs), showMs),
    ];
  },
};

/** What the daemon's log says of a replay. Throws BenchError when it says nothing of the kind. */
export function parseRecovery(summary: string): { bytes: number; ms: number } {
  const match = /replayed \d+ records \((\d+) bytes\) from \d+ segments in (\d+) ms/.exec(summary);
  if (match === null) throw new BenchError(`recovery: the log tells of no replay: ${summary}`);
  return { bytes: Number(match[1]), ms: Number(match[2]) };
}

/** Run as a child process: `scrub-child.ts PATH STEP`. Deletes `gone`, scrubs, and is killed before the given step; prints how many there were if it was not. */
import { SystemClock } from '../../src/base/system-clock.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';

const [path, killAt] = process.argv.slice(2);
let step = 0;
const store = await LmdbMetaStore.open(
  {
    path,
    onScrubStep: () => {
      if (step === Number(killAt)) process.kill(process.pid, 'SIGKILL');
      step += 1;
    },
  },
  { clock: new SystemClock() },
);
await store.transaction({ delete: ['gone'] });
await store.scrub();
await store.close();
process.stdout.write(`${String(step)}\n`);

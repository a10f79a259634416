/**
 * Run as a child process: `rotation-child.ts FOLDER STEP`. Changes the master key of the node in FOLDER, and is killed
 * before the given change of the disk; prints how many there were if it was not.
 */
import { join } from 'node:path';
import { SystemClock, SystemRandom } from '../../src/base/system-clock.js';
import { DataKeyCopies } from '../../src/control/data-key-copies.js';
import { DataKeyVault } from '../../src/crypto/data-key-vault.js';
import { fileModeOf } from '../../src/crypto/secret-file.js';
import type { Files } from '../../src/io/files.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';

const [folder = '', killAt] = process.argv.slice(2);
let step = 0;
let counting = false;

function onStep(): void {
  if (!counting) return;
  if (step === Number(killAt)) process.kill(process.pid, 'SIGKILL');
  step += 1;
}

const CHANGES = new Set(['write', 'sync', 'rename', 'remove', 'replaceFile', 'syncDirectory', 'makeDirectory']);
const files = new Proxy<Files>(new NativeFiles(), {
  get: (target, name) => {
    const method: unknown = Reflect.get(target, name);
    if (typeof method !== 'function') return method;
    return (...of: unknown[]): unknown => {
      if (CHANGES.has(String(name))) onStep();
      return Reflect.apply(method, target, of) as unknown;
    };
  },
});

const clock = new SystemClock();
const meta = await LmdbMetaStore.open({ path: join(folder, 'meta'), onScrubStep: onStep }, { clock });
const copies = new DataKeyCopies(meta);
const store = copies.store.bind(copies);
copies.store = (of) => {
  onStep();
  return store(of);
};
const vault = await DataKeyVault.open(
  { keysPath: join(folder, 'keys'), provider: { provider: 'file' }, metaCopies: copies },
  { files, random: new SystemRandom(), clock, environment: {}, modeOf: fileModeOf },
);
counting = true;
const { unfinished } = await vault.rotateMaster({ provider: 'file' });
counting = false;
await vault.close();
await meta.close();
if (unfinished !== null) throw unfinished;
process.stdout.write(`${String(step)}\n`);

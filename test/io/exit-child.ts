/**
 * Starts many operations of every kind and leaves without waiting: `exit-child.ts FOLDER HOW`, where HOW is `exit` (in
 * the middle of a call), `idle` (everything is done first, and nothing must keep the process), `throw` (an error out of
 * a callback), `worker` (a thread that is ended in the middle) or `workers` (two threads and the main one side by side).
 */
import { once } from 'node:events';
import { join } from 'node:path';
import { isMainThread, threadId, Worker, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';
import { NativeFiles } from '../../src/io/native-files.js';
import { NativeBlockKeys } from '../../src/io/native-keys.js';
import { OpenBatch } from '../../src/io/open-batch.js';
import { SealBatch } from '../../src/io/seal-batch.js';

const [folder, how] = isMainThread
  ? [process.argv[2] ?? '.', process.argv[3] ?? 'idle']
  : (workerData as [folder: string, how: string]);

async function startEverything(count: number): Promise<Promise<unknown>[]> {
  const files = new NativeFiles();
  const keys = new NativeBlockKeys();
  const keyring = keys.createKeyring(false);
  keys.addDataKey(keyring, 1, new Uint8Array(32).fill(threadId + 1));
  const sealing = keys.createSealingKey(keyring, 1, new Uint8Array(16));
  const file = await files.open(join(folder, `victim-${String(threadId)}`), 'create');
  const started: Promise<unknown>[] = [files.fillZeros(file, 0, 8 * 1024 * 1024)];
  for (let n = 0; n < count; n += 1) {
    const seal = new SealBatch();
    seal.sources.push(new Uint8Array(65536).fill(n));
    const at = seal.reserveHeader(128);
    new DataView(seal.headers.buffer).setUint32(at + 16, 128, true);
    for (let block = 0; block < 16; block += 1) seal.addBlock(0, block * 4096, sealing, 1, block, n * 16 + block);
    seal.addRecord(at, 128, 0, 16, 4096);
    const open = new OpenBatch();
    open.destinations.push(new Uint8Array(65536));
    for (let block = 0; block < 16; block += 1) {
      open.add(file, 128 + block * 4160, 4160, 0, block, keyring, 0, block * 4096, 4096);
    }
    started.push(
      new Promise((resolve) => {
        files.appendLater(file, n * 69632, seal, resolve);
      }),
      new Promise<void>((resolve) => {
        files.openLater(open, resolve);
      }),
      files.sync(file),
      files.writeback(file, 0, 0),
      files.read(file, 0, new Uint8Array(65536), 0, 65536),
      files.write(file, n * 4096, new Uint8Array(4096)),
    );
  }
  return started;
}

function worker(task: string): Worker {
  // A worker starts without the loader of its parent.
  const start = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(import.meta.url)}); })`;
  return new Worker(start, { eval: true, workerData: [folder, task] });
}

register();
if (how === 'exit') {
  const started = await startEverything(100);
  process.exit(started.length > 100 ? 7 : 1);
} else if (how === 'idle') {
  await Promise.all(await startEverything(20));
  console.log('done');
} else if (how === 'throw') {
  const files = new NativeFiles();
  let later = false;
  process.once('uncaughtException', (thrown) => {
    console.log(`caught ${thrown.message}`);
    process.once('exit', () => {
      console.log(later ? 'the next one ran' : 'the next one was lost');
    });
  });
  files.openLater(new OpenBatch(), () => {
    throw new Error('out of a callback');
  });
  files.openLater(new OpenBatch(), () => {
    later = true;
  });
} else if (how === 'worker') {
  for (let turn = 0; turn < 3; turn += 1) {
    const thread = worker('flood');
    await once(thread, 'message');
    await thread.terminate();
  }
  console.log('done');
} else if (how === 'flood') {
  const started = await startEverything(100);
  const { parentPort } = await import('node:worker_threads');
  parentPort?.postMessage('started');
  await Promise.all(started);
} else if (how === 'workers') {
  const threads = [worker('idle'), worker('idle')];
  await Promise.all([...(await startEverything(20)), ...threads.map((thread) => once(thread, 'exit'))]);
  console.log('done');
}

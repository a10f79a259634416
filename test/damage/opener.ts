/**
 * Run as a child process: `opener.ts ROOT`, ROOT being `src` or `dist`. Opens storage paths as a daemon does, with the
 * real probes, because a damaged database may end the process that maps it. One job of JSON a line on stdin, one answer
 * a line on stdout. That it answers at all is part of what is tested.
 */
import { createInterface } from 'node:readline';
import type { Log } from '../../src/base/log.js';
import { messageOf } from '../../src/base/errors.js';
import type * as SystemClockModule from '../../src/base/system-clock.js';
import type { FileId } from '../../src/io/files.js';
import type * as NativeChecksumsModule from '../../src/io/native-checksums.js';
import type * as NativeFilesModule from '../../src/io/native-files.js';
import type * as NativeKeysModule from '../../src/io/native-keys.js';
import type * as LmdbMetaStoreModule from '../../src/meta/lmdb-meta-store.js';
import type * as OpenStoreModule from '../../src/store/open-store.js';
import type * as VolumeManagerModule from '../../src/volume/volume-manager.js';
import { compare, layerId, readEverything, type Opened, type Outcome, type VolumeContents } from './contents.js';
import { liveOn } from './life.js';
import { metaVisit, type MetaJob } from './meta-visit.js';
import type { OpenerAnswer, OpenerJob, StoreJob } from './opener-process.js';

const root = process.argv[2] === 'dist' ? '../../dist' : '../../src';

// Of one root, so that the probes which they start run in the same form.
const load = (path: string): Promise<unknown> => import(`${root}/${path}.js`);
const { SystemClock, SystemRandom } = (await load('base/system-clock')) as typeof SystemClockModule;
const { NativeFiles } = (await load('io/native-files')) as typeof NativeFilesModule;
const { NativeBlockKeys } = (await load('io/native-keys')) as typeof NativeKeysModule;
const { NativeChecksums } = (await load('io/native-checksums')) as typeof NativeChecksumsModule;
const { openStore } = (await load('store/open-store')) as typeof OpenStoreModule;
const { VolumeManager } = (await load('volume/volume-manager')) as typeof VolumeManagerModule;
const { LmdbMetaStore } = (await load('meta/lmdb-meta-store')) as typeof LmdbMetaStoreModule;

const SEGMENT_BYTES = 1024 * 1024;

const clock = new SystemClock();
const checksums = new NativeChecksums();
const keys = new NativeBlockKeys();
let epoch = 1000;
let log: string[] = [];

/** The map's disk space that is held back is not what this is about. */
class LightFiles extends NativeFiles {
  override async allocate(file: FileId, at: number, length: number): Promise<void> {
    if ((await this.sizeBytes(file)) < at + length) await this.truncate(file, at + length);
  }

  override fillZeros(): Promise<void> {
    return Promise.resolve();
  }
}

function theLog(): Log {
  const to = (level: string) => (fields: object, message: string) => {
    log.push(`${level} ${message} ${JSON.stringify(fields)}`);
  };
  return { debug: () => undefined, info: to('info'), warn: to('warn'), error: to('error') };
}

async function visit(job: StoreJob, volumes: VolumeContents[], alter: boolean): Promise<Outcome> {
  const store = await openStore(
    {
      storagePath: job.path,
      nodeId: new Uint8Array(16).fill(7),
      segmentBytes: SEGMENT_BYTES,
      checkpointIntervalMs: 3_600_000,
      mapCacheBytes: 256 * 1024,
    },
    { files: new LightFiles(), keys, checksums, clock, random: new SystemRandom(), log: theLog() },
  );
  const manager = new VolumeManager({ segmentBytes: SEGMENT_BYTES, space: await store.space() }, { store, clock });
  const node: Opened = {
    layers: () => manager.layers(),
    open: ({ layer, encrypted }) => {
      epoch += 1;
      const secret = new Uint8Array(32).fill(9);
      const used = encrypted ? [{ number: layer, secret }] : [];
      return manager.open({ volumeId: `volume-${String(layer)}`, layer: layerId(layer), epoch, keys: used });
    },
  };
  const outcome = await readEverything(node, volumes);
  const { unauthenticBlocks } = manager.report();
  if (outcome.bad.length > unauthenticBlocks) {
    throw new Error(`${String(outcome.bad.length)} blocks failed, ${String(unauthenticBlocks)} were counted`);
  }
  if (alter) await liveOn(manager, node, volumes, outcome);
  if (job.kill) {
    const { engine } = store;
    await engine?.journal.drain();
    await engine?.checkpointer.settled();
    await engine?.dispose();
  } else {
    await manager.close();
  }
  return outcome;
}

async function run(job: OpenerJob): Promise<OpenerAnswer> {
  log = [];
  try {
    if (job.kind === 'meta') return { outcome: await metaJob(job), failure: '', log };
    const volumes = [...job.volumes];
    const first = await visit(job, volumes, true);
    const second = await visit({ ...job, kill: false }, volumes, false);
    compare(first, second);
    return { outcome: { ...first, rebuilt: log.some((line) => line.includes('set aside')) }, failure: '', log };
  } catch (thrown) {
    return { outcome: null, failure: thrown instanceof Error ? (thrown.stack ?? '') : messageOf(thrown), log };
  }
}

function metaJob(job: MetaJob): Promise<string> {
  return metaVisit(job, () => LmdbMetaStore.open({ path: job.path }, { clock }));
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as OpenerJob))}\n`);
}

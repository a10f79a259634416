import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { Volume } from '../../src/ipc/generated/control.js';
import { SeededRandom } from '../base/seeded-random.js';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

const MIB = 1 << 20;
const ROUNDS = 8;
const WORKERS = 4;
const NAMES = 10;

/** What a volume may look like: as acknowledged, or as the verb would have left it whose answer never came. */
interface Known {
  readonly exists: boolean;
  readonly sizeBytes: number;
  readonly exported: boolean;
}

const ABSENT: Known = { exists: false, sizeBytes: 0, exported: false };

/** A volume of one name, driven through verbs one after the other. */
class Driven {
  readonly name: string;
  readonly storageClass: string;
  certain: Known = ABSENT;
  possible: Known | null = null;

  constructor(name: string, storageClass: string) {
    this.name = name;
    this.storageClass = storageClass;
  }

  async step({ client }: DaemonProcess, random: SeededRandom): Promise<void> {
    const { name, certain } = this;
    const verb = random.below(4);
    if (!certain.exists) {
      const sizeBytes = MIB * (1 + random.below(8));
      const request = { name, sizeBytes, storageClass: this.storageClass, volumeType: '', replicas: 0 };
      await this.#become({ exists: true, sizeBytes, exported: false }, () =>
        client.createVolume({ ...request, labels: { round: 'one' }, blockBytes: 0 }),
      );
    } else if (verb === 0) {
      await this.#become(ABSENT, () => client.deleteVolume({ volume: name, force: true, withSnapshots: false }));
    } else if (verb === 1) {
      const sizeBytes = certain.sizeBytes + MIB;
      await this.#become({ ...certain, sizeBytes }, () =>
        client.expandVolume({ volume: name, sizeBytes: MIB, relative: true }),
      );
    } else if (certain.exported) {
      await this.#become({ ...certain, exported: false }, () => client.unexportVolume({ volume: name, force: true }));
    } else {
      await this.#become({ ...certain, exported: true }, () => client.exportVolume({ volume: name, readOnly: false }));
    }
  }

  /** What is wrong with what was found, '' if nothing; what was found becomes certain. */
  judge(found: Volume | undefined): string {
    const now: Known =
      found === undefined ? ABSENT : { exists: true, sizeBytes: found.sizeBytes, exported: found.export !== undefined };
    const allowed = this.possible === null ? [this.certain] : [this.certain, this.possible];
    this.possible = null;
    if (!allowed.some((each) => JSON.stringify(each) === JSON.stringify(now))) {
      return `${this.name}: found ${JSON.stringify(now)}, allowed ${JSON.stringify(allowed)}`;
    }
    this.certain = now;
    return '';
  }

  async #become(next: Known, call: () => Promise<unknown>): Promise<void> {
    this.possible = next;
    await call();
    this.certain = next;
    this.possible = null;
  }
}

test('kill -9 in the middle of create, delete, expand, export and unexport leaves nothing half', async () => {
  const seed = 5;
  const random = new SeededRandom(seed);
  const daemon = await DaemonProcess.start({ atEnd: onTestFinished });
  const volumes = Array.from(
    { length: NAMES },
    (_, n) => new Driven(`volume-${String(n)}`, n % 3 === 0 ? 'fast-local-ssd' : 'encrypted-storage'),
  );
  for (let round = 0; round < ROUNDS; round += 1) {
    await driveAndKill(daemon, volumes, random, 5 + random.below(40));
    await daemon.start();
    const { client } = daemon;
    const listed = await client.listVolumes({ labels: {}, retained: false });
    const where = `round ${String(round)} of seed ${String(seed)}`;
    const wrong = volumes.map((volume) => volume.judge(listed.find(({ name }) => name === volume.name)));
    expect(
      wrong.filter((each) => each !== ''),
      where,
    ).toEqual([]);
    expect(
      listed.filter(({ state }) => state !== 'available'),
      where,
    ).toEqual([]);
    expect(await client.listVolumes({ labels: {}, retained: true }), where).toEqual([]);
    expect((await client.status()).problems, where).toEqual([]);
    // One wrapped key of each encrypted volume, and none of a volume that is not there.
    const keys = wrappedKeyFiles(daemon);
    expect(keys.length, `${where}: ${keys.join(' ')}`).toBe(listed.filter(({ encrypted }) => encrypted).length);
    for (const volume of listed) {
      if (volume.export === undefined) continue;
      const nbd = await PipelinedClient.connect(daemon.socketPath, volume.name);
      const last = volume.sizeBytes - 4096;
      expect((await nbd.send(1, last, { payload: Buffer.alloc(4096, 7) })).outcome).toBe(0);
      expect((await nbd.read(last, 4096)).equals(Buffer.alloc(4096, 7))).toBe(true);
      nbd.close();
    }
  }
  expect(await daemon.stop()).toBe(0);
}, 120_000);

async function driveAndKill(
  daemon: DaemonProcess,
  volumes: readonly Driven[],
  random: SeededRandom,
  verbs: number,
): Promise<void> {
  let done = 0;
  let killed = false;
  const work = async (mine: readonly Driven[]): Promise<void> => {
    while (!killed) {
      try {
        await mine[random.below(mine.length)].step(daemon, random);
      } catch (thrown) {
        if (!killed) throw thrown;
        return;
      }
      done += 1;
      if (done === verbs) {
        killed = true;
        daemon.signal('SIGKILL');
      }
    }
  };
  const shares = Array.from({ length: WORKERS }, (_, worker) => volumes.filter((_v, n) => n % WORKERS === worker));
  await Promise.all(shares.map(work));
  await daemon.exited();
}

function wrappedKeyFiles(daemon: DaemonProcess): string[] {
  return readdirSync(join(daemon.storagePath, 'keys'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\d/.test(name),
  );
}

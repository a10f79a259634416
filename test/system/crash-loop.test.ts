import { onTestFinished, test, expect } from 'vitest';
import { SeededRandom } from '../base/seeded-random.js';
import { DaemonProcess } from './daemon-process.js';
import { BLOCK, NumberedBlocks } from './numbered-blocks.js';
import { PipelinedClient } from './pipelined-client.js';

const ROUNDS = 12;
const REQUESTS_IN_FLIGHT = 16;
/** A round ends after so many requests at the latest. */
const REQUESTS_MAX = 6_000;
const VOLUMES = [
  { name: 'sealed', blocks: 3000, storageClass: 'encrypted-storage', blockBytes: 4096 },
  { name: 'plain', blocks: 1500, storageClass: 'fast-local-ssd', blockBytes: 4096 },
  // Each of our blocks is a read-modify-write of a larger one, beside others that are in flight.
  { name: 'large-blocks', blocks: 1024, storageClass: 'encrypted-storage', blockBytes: 65536 },
];

test.each([11, 12])(
  'kill -9 under load loses no acknowledged write and shows nothing foreign (seed %i)',
  async (seed) => {
    const random = new SeededRandom(seed);
    // 1 MiB segments, little to replay and frequent checkpoints: every round crosses all their boundaries.
    const daemon = await DaemonProcess.start({
      atEnd: onTestFinished,
      config: { persistence: ['journal_size = "64M"', 'checkpoint_interval = "150ms"'] },
    });
    const volumes = VOLUMES.map(({ name, blocks, blockBytes }) => new NumberedBlocks(name, blocks, blockBytes));
    for (const { name, blocks, storageClass, blockBytes } of VOLUMES) {
      await daemon.volume(name, blocks * BLOCK, storageClass, blockBytes);
    }
    for (let round = 0; round < ROUNDS / 2; round += 1) {
      const requests = 200 + random.below(REQUESTS_MAX - 200);
      await loadAndKill(daemon, volumes, random, requests);
      // Every other time the recovery is killed as well, somewhere in the middle.
      if (round % 2 === 1) {
        const from = daemon.log.length;
        daemon.launch();
        const lines = 1 + random.below(4);
        await daemon.logged(() => daemon.log.length - from >= lines, from);
        await daemon.kill9();
      }
      await daemon.start();
      const wrong: string[] = [];
      for (const volume of volumes) {
        const client = await PipelinedClient.connect(daemon.socketPath, volume.name);
        wrong.push(...(await volume.verify(client)));
        client.close();
      }
      expect(wrong.slice(0, 20), `round ${String(round)} of seed ${String(seed)}`).toEqual([]);
    }
    expect(volumes.every((volume) => volume.acknowledged > 100 && volume.flushed > 0)).toBe(true);
    expect((await daemon.client.status()).problems).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  },
  120_000,
);

/** Writes over two connections to each volume until so many requests were answered, and kills in the middle. */
async function loadAndKill(
  daemon: DaemonProcess,
  volumes: readonly NumberedBlocks[],
  random: SeededRandom,
  requests: number,
): Promise<void> {
  const clients: { volume: NumberedBlocks; client: PipelinedClient }[] = [];
  for (const volume of [...volumes, ...volumes]) {
    clients.push({ volume, client: await PipelinedClient.connect(daemon.socketPath, volume.name) });
  }
  let answered = 0;
  const work = async ({ volume, client }: (typeof clients)[number]): Promise<void> => {
    while (!client.ended) {
      await volume.step(client, random);
      answered += 1;
      // In the middle of a turn, with requests of all volumes in flight.
      if (answered === requests) daemon.signal('SIGKILL');
      // What finds all its blocks busy sends nothing; it must not keep others from being heard.
      if (answered % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await Promise.all(clients.flatMap((each) => Array.from({ length: REQUESTS_IN_FLIGHT }, () => work(each))));
  await daemon.exited();
  for (const { client } of clients) client.close();
}

import * as net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { comesTrue, turns } from '../base/waiting.js';
import { WireClient, infoData, option, request, u32 } from '../nbd/wire-client.js';
import { DaemonProcess } from './daemon-process.js';
import { PipelinedClient } from './pipelined-client.js';

const MIB = 1 << 20;
const BLOCK = 4096;
const READ = 0;
const WRITE = 1;
/** Connections that are opened, over both sockets together, and how many of them are open at once. */
const CROWD = 10_000;
const WAVE = 500;
/**
 * What a daemon may grow by for reasons of its own while a test runs: V8's young and old space and its code (80 MiB were
 * seen), pages of the journal's reserves and the map's cache, and what malloc keeps.
 */
const OWN_GROWTH_BYTES = 128 * MIB;

let daemon: DaemonProcess;
const cleanUps: (() => Promise<void>)[] = [];
let address: net.NetConnectOpts;

beforeAll(async () => {
  daemon = await DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });
  await daemon.volume('good', 4 * MIB);
  await daemon.volume('v', 64 * MIB);
  const { nbdAddress } = await daemon.client.status();
  const colon = nbdAddress.lastIndexOf(':');
  address = { host: nbdAddress.slice(0, colon), port: Number(nbdAddress.slice(colon + 1)) };
});
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

/** A client that behaves: it writes blocks and reads them back for as long as it is let. */
class GoodClient {
  rounds = 0;
  residentMax = daemon.residentBytes;
  readonly #client: PipelinedClient;
  readonly #work: Promise<void>;
  #stopped = false;

  private constructor(client: PipelinedClient) {
    this.#client = client;
    this.#work = this.#run();
    this.#work.catch(() => undefined);
  }

  static async start(): Promise<GoodClient> {
    return new GoodClient(await PipelinedClient.connect(daemon.socketPath, 'good'));
  }

  /** Served `count` times more from now on. */
  async served(count: number): Promise<void> {
    const until = this.rounds + count;
    await Promise.race([this.#work, comesTrue('the client that behaves is served', () => this.rounds >= until)]);
    expect(this.rounds).toBeGreaterThanOrEqual(until);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#work;
    this.#client.close();
  }

  async #run(): Promise<void> {
    for (let n = 0; !this.#stopped; n += 1) {
      const offset = (n % 1024) * BLOCK;
      const payload = Buffer.alloc(BLOCK, `block ${String(n)} `);
      expect((await this.#client.send(WRITE, offset, { payload })).outcome).toBe(0);
      expect((await this.#client.read(offset, BLOCK)).equals(payload)).toBe(true);
      this.rounds += 1;
      this.residentMax = Math.max(this.residentMax, daemon.residentBytes);
    }
  }
}

/** A connection that says `bytes` and no more; null: the kernel's queue was full. */
function open(to: net.NetConnectOpts, bytes: Buffer): Promise<net.Socket | null> {
  return new Promise((resolve) => {
    const socket = net.connect(to);
    socket.on('error', () => resolve(null));
    socket.on('connect', () => {
      if (bytes.length > 0) socket.write(bytes);
      resolve(socket);
    });
  });
}

describe('a daemon among hostile NBD clients', () => {
  /** Half handshakes of all kinds; the last three get as far as to be answered. */
  const SAID = [
    Buffer.alloc(0),
    Buffer.alloc(3),
    Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'),
    u32(3),
    Buffer.concat([u32(3), option(6, infoData('v'))]),
    Buffer.concat([u32(3), option(3), option(7, Buffer.alloc(90)).subarray(0, 40)]),
  ];

  it(`serves and stays small while ${String(CROWD)} connections are opened`, async () => {
    const good = await GoodClient.start();
    await good.served(50);
    const before = { resident: daemon.residentBytes, descriptors: daemon.sockets };
    let opened = 0;
    while (opened < CROWD) {
      const to = (opened / WAVE) % 2 === 0 ? { path: daemon.socketPath } : address;
      const wave: net.Socket[] = [];
      while (wave.length < WAVE) {
        // Fewer at once than a listening queue has room for; a unix socket refuses what does not fit.
        const asked = Array.from({ length: 100 }, (_, n) => open(to, SAID[n % SAID.length]));
        for (const socket of await Promise.all(asked)) if (socket !== null) wave.push(socket);
        await turns(1);
      }
      opened += wave.length;
      await good.served(1);
      // No more than 128 handshakes and what was there before.
      expect(daemon.sockets).toBeLessThanOrEqual(before.descriptors + 128 + WAVE);
      for (const socket of wave) socket.destroy();
    }
    expect(opened).toBeGreaterThanOrEqual(CROWD);
    await comesTrue('its sockets are closed', () => daemon.sockets <= before.descriptors);
    // A handshake has a buffer of 16 KiB and a socket; with 128 of them that is below 8 MiB.
    expect(good.residentMax - before.resident).toBeLessThan(8 * MIB + OWN_GROWTH_BYTES);
    console.log(
      `resident MiB: before ${mib(before.resident)}, most ${mib(good.residentMax)}, after ${mib(daemon.residentBytes)}`,
    );
    await good.stop();
    // And whoever comes now is served.
    const later = await WireClient.connect(address);
    await later.go('v');
    expect((await later.ask({ type: READ, length: 512 })).error).toBe(0);
    later.destroy();
  });

  it('serves and stays small while clients ask without reading the answers', async () => {
    const good = await GoodClient.start();
    await good.served(20);
    const before = daemon.residentBytes;
    const flooding = 3;
    const floods = Array.from({ length: flooding }, (_, n) => {
      const each =
        n === 2 ? request({ type: WRITE, payload: Buffer.alloc(60_000, 9) }) : request({ type: READ, length: MIB });
      const socket = net.connect(n === 0 ? address : { path: daemon.socketPath });
      socket.on('error', () => undefined);
      socket.pause();
      socket.write(Buffer.concat([u32(3), option(7, infoData('v'))]));
      socket.write(
        Buffer.concat(Array.from({ length: Math.ceil((16 * MIB) / each.length / (n === 2 ? 1 : 40)) }, () => each)),
      );
      return socket;
    });
    await good.served(100);
    // 64 MiB of buffers for a session, and 64 MiB of free ones that the server may keep.
    expect(good.residentMax - before).toBeLessThan((flooding * 64 + 64) * MIB + OWN_GROWTH_BYTES);
    console.log(`resident MiB: before ${mib(before)}, most ${mib(good.residentMax)}`);
    for (const socket of floods) socket.destroy();
    await good.served(20);
    await good.stop();
  });

  it('serves and stays small while clients stall in the middle of their longest payloads, again and again', async () => {
    const good = await GoodClient.start();
    await good.served(20);
    const before = daemon.residentBytes;
    const socketsBefore = daemon.sockets;
    const stalling = 4;
    for (let round = 0; round < 2; round += 1) {
      const sockets: net.Socket[] = [];
      for (let n = 0; n < stalling; n += 1) {
        const socket = net.connect(n % 2 === 0 ? address : { path: daemon.socketPath });
        sockets.push(socket);
        socket.on('error', () => undefined);
        socket.resume();
        socket.write(Buffer.concat([u32(3), option(7, infoData('v')), request({ type: WRITE, length: 32 * MIB })]));
        // The kernel has taken all of it: nearly all of that is with the daemon.
        await new Promise<void>((resolve) => socket.write(Buffer.alloc(31 * MIB, round), () => resolve()));
      }
      await good.served(20);
      for (const socket of sockets) socket.destroy();
      await comesTrue('its sockets are closed', () => daemon.sockets <= socketsBefore);
    }
    // 32 MiB each for those that stall now, as much for those of the round before until the collector has run, and 64
    // MiB of free buffers.
    expect(good.residentMax - before).toBeLessThan((2 * stalling * 33 + 64) * MIB + OWN_GROWTH_BYTES);
    console.log(
      `resident MiB: before ${mib(before)}, most ${mib(good.residentMax)}, after ${mib(daemon.residentBytes)}`,
    );
    await good.stop();
  });

  it('has not been restarted, and ends in order', async () => {
    expect(daemon.runs).toBe(true);
    expect(daemon.log.filter((line) => Number(line.level) >= 50)).toEqual([]);
    expect(await daemon.stop()).toBe(0);
  });
});

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}

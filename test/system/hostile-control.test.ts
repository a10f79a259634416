import * as http2 from 'node:http2';
import * as net from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { ControlClient } from '../../src/ipc/client.js';
import { findDaemon } from '../../src/ipc/client-discovery.js';
import { registryPlace } from '../../src/ipc/daemon-registry.js';
import { SeededRandom } from '../base/seeded-random.js';
import { SEED, replayedWith, runs, FUZZ_TIMEOUT_MS } from '../fuzz/fuzzing.js';
import { comesTrue } from '../base/waiting.js';
import { applyEdit, drawEdit } from '../fuzz/mutations.js';
import { RecordingProxy } from '../fuzz/recording-proxy.js';
import { DaemonProcess } from './daemon-process.js';

const MIB = 1 << 20;
const CROWD = 2000;
/** See hostile-nbd.test.ts: V8, and what malloc keeps. */
const OWN_GROWTH_BYTES = 128 * MIB;
/** Changed calls, also in a long run: they carry the token, and half-dead connections that have shown it count for up to 50 s. */
const RECORDED_MAX = 200;

let daemon: DaemonProcess;
let control: Address;
let metrics: Address;
const cleanUps: (() => Promise<void>)[] = [];
const sockets: net.Socket[] = [];

interface Address {
  readonly host: string;
  readonly port: number;
}

beforeAll(async () => {
  daemon = await DaemonProcess.start({ atEnd: (cleanUp) => cleanUps.push(cleanUp) });
  await daemon.volume('v', 4 * MIB);
  const status = await daemon.client.status();
  control = addressOf(status.ipcAddress);
  metrics = addressOf(status.metricsAddress);
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const cleanUp of cleanUps) await cleanUp();
});

function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

/** A client that comes new, as `gfs` does, over a connection of its own. */
function newcomer(address = `${control.host}:${String(control.port)}`): ControlClient {
  const found = findDaemon({ address: undefined, tokenFile: undefined }, registryPlace(daemon.environment));
  const signal = new AbortController().signal;
  return new ControlClient({ ...found, address, timeoutMs: 30_000, signal, clock: new SystemClock() });
}

/** A newcomer and the client that was there before are both answered. */
async function bothServed(): Promise<void> {
  const client = newcomer();
  try {
    expect((await client.listVolumes({ labels: {}, retained: false })).map(({ name }) => name)).toContain('v');
    expect((await daemon.client.status()).pid).toBe(daemon.pid);
  } finally {
    await client.close();
  }
}

/** Says `bytes`; resolves when that has been taken and the connection stands, or is over. */
function say(to: Address, bytes: Uint8Array, reads = true): Promise<net.Socket> {
  return new Promise((resolve) => {
    const socket = net.connect(to);
    sockets.push(socket);
    if (reads) socket.resume();
    else socket.pause();
    socket.on('error', () => resolve(socket));
    socket.on('connect', () => socket.write(bytes.length > 0 ? bytes : new Uint8Array(1), () => resolve(socket)));
  });
}

function gone(socket: net.Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
    socket.resume();
  });
}

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);

describe('a daemon whose control API meets strangers', () => {
  it('answers others while garbage, halves of requests and HTTP of other kinds come in', async () => {
    const said = [
      Buffer.from('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n'),
      Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]),
      Buffer.alloc(100_000, 0xff),
      PREFACE.subarray(0, 11),
      Buffer.concat([PREFACE, SETTINGS.subarray(0, 5)]),
      Buffer.concat([PREFACE, Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1])]),
      // HEADERS that never end, PINGs and SETTINGS that want to be answered.
      Buffer.concat([PREFACE, SETTINGS, Buffer.from([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82])]),
      Buffer.concat([
        PREFACE,
        SETTINGS,
        ...Array<Buffer>(20_000).fill(Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])),
      ]),
      Buffer.concat([PREFACE, ...Array<Buffer>(20_000).fill(SETTINGS)]),
    ];
    const before = daemon.residentBytes;
    for (let round = 0; round < 5; round += 1) {
      const open = await Promise.all(said.flatMap((bytes) => [say(control, bytes), say(control, bytes, false)]));
      await bothServed();
      for (const socket of open) socket.destroy();
    }
    expect(daemon.residentBytes - before).toBeLessThan(OWN_GROWTH_BYTES);
  });

  it(`keeps a bounded part of ${String(CROWD)} connections, and answers newcomers among them`, async () => {
    await bothServed();
    const before = { resident: daemon.residentBytes, descriptors: daemon.sockets };
    const crowd: net.Socket[] = [];
    let most = 0;
    while (crowd.length < CROWD) {
      const said = [Buffer.alloc(1), PREFACE, Buffer.concat([PREFACE, SETTINGS])];
      crowd.push(...(await Promise.all(Array.from({ length: 200 }, (_, n) => say(control, said[n % 3])))));
      await bothServed();
      most = Math.max(most, daemon.residentBytes);
      // 64 of them, and the two who are served.
      await comesTrue('the oldest are gone', () => daemon.sockets <= before.descriptors + 64 + 2);
    }
    // An HTTP/2 session of a stranger takes below 256 KiB: 16 MiB for 64.
    expect(most - before.resident).toBeLessThan(16 * MIB + OWN_GROWTH_BYTES);
    console.log(`resident MiB: before ${mib(before.resident)}, most ${mib(most)}`);
    for (const socket of crowd) socket.destroy();
    await comesTrue('its sockets are closed', () => daemon.sockets <= before.descriptors + 2);
  });

  it('reads no message of who has no token, and none that is too long of who has', async () => {
    const before = daemon.residentBytes;
    const sessions = Array.from({ length: 6 }, () => {
      const session = http2.connect(`http://${control.host}:${String(control.port)}`, { maxSessionMemory: 1000 });
      session.on('error', () => undefined);
      return session;
    });
    const message = Buffer.alloc(4 * MIB - 100, 0x0a);
    message.writeUInt8(0, 0);
    message.writeUInt32BE(4 * MIB - 10, 1);
    const refusals: string[] = [];
    await Promise.all(
      sessions.flatMap((session) =>
        Array.from({ length: 20 }, async () => {
          const headers = { ':method': 'POST', ':path': '/galleon.v1.Volumes/Create', te: 'trailers' };
          const stream = session.request({ ...headers, 'content-type': 'application/grpc' });
          stream.on('error', () => undefined);
          const answered = new Promise<void>((resolve) => {
            stream.on('response', (answer) => {
              refusals.push(String(answer['grpc-status']));
              resolve();
            });
            stream.on('close', () => resolve());
          });
          stream.write(message);
          await answered;
        }),
      ),
    );
    expect(refusals).toHaveLength(120);
    expect(new Set(refusals)).toEqual(new Set(['16']));
    const most = daemon.residentBytes;
    await bothServed();
    // Had they been read, these calls would hold 480 MiB.
    expect(most - before).toBeLessThan(OWN_GROWTH_BYTES);
    console.log(`resident MiB: before ${mib(before)}, with 120 long requests of strangers ${mib(most)}`);
    for (const session of sessions) session.destroy();
    const long = 'x'.repeat(5 * MIB);
    await expect(daemon.client.createStorageClass({ document: long, fileName: 'x' })).rejects.toThrow();
    await bothServed();
  });

  it('answers documents that are made to break it, and goes on', async () => {
    const { client } = daemon;
    const deep = '? '.repeat(16_384);
    await expect(client.createStorageClass({ document: deep, fileName: 'x' })).rejects.toThrow('inside one another');
    // The text of the refusal is cut in the middle of a character.
    for (const head of ['', 'a']) {
      const fileName = head + '\u{1f600}'.repeat(3000);
      await expect(client.createStorageClass({ document: '[', fileName })).rejects.toThrow('\u{1f600}');
      await expect(client.getVolume({ volume: fileName, retained: false })).rejects.toThrow();
    }
    await bothServed();
  });

  it(
    `survives recorded calls with changed bytes (${replayedWith})`,
    async () => {
      const proxy = await RecordingProxy.start(control, 'tcp');
      const recorder = newcomer(proxy.address);
      await recorder.listVolumes({ labels: {}, retained: false });
      await recorder.status();
      await recorder.createStorageClass({ document: 'name: fuzzed\n', fileName: 'a.yaml' });
      await recorder.close();
      const [recorded] = proxy.recordings();
      if (recorded === undefined) throw new Error('nothing was recorded');
      expect(Buffer.from(recorded).includes('name: fuzzed')).toBe(true);
      const before = daemon.sockets;
      const dice = new SeededRandom(SEED);
      for (let n = 0; n < Math.min(runs(150), RECORDED_MAX); n += 1) {
        let bytes: Uint8Array = recorded;
        for (let edits = 1 + dice.below(4); edits > 0; edits -= 1) bytes = applyEdit(bytes, drawEdit(dice, [recorded]));
        const socket = await say(control, bytes);
        if (n % 2 === 0) socket.destroy();
        else socket.end();
        if (n % 25 === 0) await bothServed();
        else if (n % 2 === 0) await gone(socket);
      }
      await bothServed();
      for (const socket of sockets) socket.destroy();
      // Strangers go within 10 s, whose call was cut off behind its token when a ping finds nobody: they are few.
      expect(daemon.sockets).toBeLessThanOrEqual(before + 64 + RECORDED_MAX);
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe('a daemon whose metrics meet strangers', () => {
  const GET = Buffer.from('GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n');

  async function scraped(): Promise<void> {
    const response = await fetch(`http://${metrics.host}:${String(metrics.port)}/metrics`, {
      headers: { connection: 'close' },
    });
    expect(response.status).toBe(200);
    expect(await response.text()).toContain('galleonfs_');
  }

  it('answers a scraper among readers that do not read, garbage, and many connections', async () => {
    await scraped();
    const before = { resident: daemon.residentBytes, descriptors: daemon.sockets };
    const said = [
      // A hundred requests of which no answer is read.
      Buffer.concat(Array<Buffer>(100).fill(GET)),
      GET.subarray(0, 20),
      Buffer.alloc(1),
      Buffer.alloc(50_000, 0x41),
      Buffer.from('POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\nabc'),
      Buffer.from(`GET /${'a'.repeat(20_000)} HTTP/1.1\r\n\r\n`),
      PREFACE,
    ];
    const crowd: net.Socket[] = [];
    while (crowd.length < 700) {
      crowd.push(
        ...(await Promise.all(Array.from({ length: 70 }, (_, n) => say(metrics, said[n % said.length], false)))),
      );
      await scraped();
    }
    await comesTrue('the oldest are gone', () => daemon.sockets <= before.descriptors + 32 + 2);
    // 32 connections with a few answers each that wait; an answer is some ten KiB.
    expect(daemon.residentBytes - before.resident).toBeLessThan(32 * MIB + OWN_GROWTH_BYTES);
    for (const socket of crowd) socket.destroy();
    await comesTrue('its sockets are closed', () => daemon.sockets <= before.descriptors + 2);
    await scraped();
  });

  it('has not been restarted, and ends in order', async () => {
    expect(daemon.runs).toBe(true);
    for (const word of ['unexpectedly', 'unhandled', 'uncaught']) expect(daemon.output).not.toContain(word);
    expect(await daemon.stop()).toBe(0);
  });
});

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(0);
}

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { makeCertificates } from '../nbd/certificates.js';
import { run } from '../nbd/programs.js';
import { NOTHING_HELD, TestServer } from '../nbd/test-server.js';
import { WireClient, infoData, metaData, option, request, u32, type WireRequest } from '../nbd/wire-client.js';
import { needs } from '../system/needs.js';
import { corpusOf, keepInCorpus } from './corpus.js';
import { RecordingProxy } from './recording-proxy.js';

/** Recorded on a small volume, so that the corpus stays small and a changed offset often lies inside. */
const VOLUME_BYTES = 256 * 1024;
/** `FUZZ_KEEP=1`: what is recorded goes into the corpus. */
const KEEPS = process.env['FUZZ_KEEP'] === '1';

interface World {
  readonly server: TestServer;
  readonly proxy: RecordingProxy;
  readonly uri: string;
}

async function start(): Promise<World> {
  const device = new MemoryDevice({ sizeBytes: VOLUME_BYTES });
  const server = await TestServer.start({ exports: { v: { device, description: 'a volume' } } });
  const proxy = await RecordingProxy.start({ path: server.socketPath });
  return { server, proxy, uri: `nbd+unix:///v?socket=${proxy.socketPath}` };
}

/** Bytes of a recorded session, sent at once to a server of its own; what that server told about it. */
async function eventsOf(bytes: Uint8Array): Promise<string[]> {
  const device = new MemoryDevice({ sizeBytes: VOLUME_BYTES });
  const server = await TestServer.start({ exports: { v: { device } } });
  const client = await server.connect();
  client.send(Buffer.from(bytes));
  client.end();
  await client.whenClosed;
  await server.server.drain();
  expect(server.server.usage()).toEqual(NOTHING_HELD);
  return server.events;
}

/** Every connection must have been recorded, and mean the same when it is replayed without waiting for answers. */
async function recorded({ server, proxy }: World, name: string): Promise<void> {
  await server.server.drain();
  const recordings = proxy.recordings();
  expect(recordings.length).toBeGreaterThan(0);
  const connected = server.count('connected');
  let replayed = 0;
  for (const [n, bytes] of recordings.entries()) {
    expect(bytes.length).toBeGreaterThanOrEqual(4);
    const events = await eventsOf(bytes);
    replayed += events.filter((event) => event.startsWith('connected')).length;
    if (KEEPS) keepInCorpus('sessions', `${name}-${String(n + 1)}.bin`, bytes);
  }
  expect(replayed).toBe(connected);
}

const READ = 0;
const WRITE = 1;
const DISC = 2;

/** What our own client says: every option and command, and the slips that a server must survive. */
const WIRE_SESSIONS: Readonly<Record<string, (client: WireClient) => Promise<void>>> = {
  'wire-simple': async (client) => {
    await client.go('v');
    for (const of of commands()) await client.ask(of);
    client.send(request({ type: DISC }));
  },
  'wire-structured': async (client) => {
    await client.go('v', { structured: true, contexts: ['base:allocation'] });
    for (const of of commands()) await client.ask(of);
    await client.ask({ type: 7, offset: 0, length: 131_072 });
    await client.ask({ type: 7, offset: 4096, length: 8192, flags: 8 });
    await client.ask({ type: READ, offset: 100, length: 9000, flags: 4 });
    client.send(request({ type: DISC }));
  },
  'wire-options': async (client) => {
    await client.greet();
    const asked = [
      ...[option(3), option(8), option(5), option(99, Buffer.from('what')), option(3, Buffer.from('x'))],
      ...[option(6, infoData('v', [0, 1, 2, 3, 3, 9])), option(6, infoData('nobody')), option(6, infoData(''))],
      ...[option(9, metaData('v', [])), option(9, metaData('v', ['base:'])), option(10, metaData('v', ['x:y']))],
      ...[option(10, metaData('v', ['base:allocation'])), option(6, Buffer.alloc(20_000)), option(7, Buffer.from('?'))],
    ];
    for (const each of asked) {
      client.send(each);
      await client.readOptionReplies();
    }
    client.send(option(2));
    await client.readOptionReplies();
  },
  'wire-export-name': async (client) => {
    await client.greet(1);
    client.send(option(1, Buffer.from('v')));
    await client.read(134);
    await client.ask({ type: WRITE, offset: 0, payload: Buffer.alloc(512, 1) });
    await client.ask({ type: READ, offset: 0, length: 512 });
  },
  'wire-errors': async (client) => {
    await client.go('v', { structured: true });
    await client.ask({ type: READ, offset: VOLUME_BYTES, length: 1 });
    await client.ask({ type: WRITE, offset: VOLUME_BYTES - 1, payload: Buffer.alloc(100, 2) });
    await client.ask({ type: READ, length: 0xffff_ffff });
    await client.ask({ type: 77, length: 5, flags: 0xffff });
    await client.ask({ type: 3, offset: 5 });
    await client.ask({ type: 4, offset: 2n ** 63n, length: 4096 });
    await client.ask({ type: READ, length: 0 });
    client.send(request({ type: READ, magic: 0x1234_5678 }));
    await client.whenClosed;
  },
  'wire-pipelined': async (client) => {
    await client.go('v');
    const asked: Buffer[] = [];
    for (let n = 0; n < 60; n += 1) {
      const cookie = BigInt(n);
      if (n % 3 === 0) asked.push(request({ type: WRITE, cookie, offset: n * 4096, payload: Buffer.alloc(900, n) }));
      else asked.push(request({ type: READ, cookie, offset: n * 512, length: 700, flags: n % 2 }));
    }
    client.send(Buffer.concat(asked));
    for (let n = 0; n < 60; n += 1) await client.readReply(n % 3 === 0 ? 0 : 700);
    client.send(request({ type: DISC }));
  },
  'wire-long-payload': async (client) => {
    await client.go('v');
    await client.ask({ type: WRITE, offset: 0, payload: Buffer.alloc(100_000, 7) });
    await client.ask({ type: READ, offset: 0, length: 100_000 });
    client.send(request({ type: DISC }));
  },
  'wire-starttls': async (client) => {
    await client.greet();
    client.send(option(5));
    await client.readOptionReplies();
    client.send(Buffer.concat([u32(0x16030102), Buffer.alloc(64, 0x03)]));
    await client.whenClosed;
  },
};

function commands(): WireRequest[] {
  return [
    { type: WRITE, offset: 4096, payload: Buffer.alloc(4096, 0x61), flags: 1, cookie: 0x0102_0304_0506_0708n },
    { type: WRITE, offset: 9000, payload: Buffer.alloc(300, 0x62) },
    { type: READ, offset: 4000, length: 6000 },
    { type: 6, offset: 0, length: 65_536, flags: 2 },
    { type: 6, offset: 65_536, length: 4096, flags: 16 },
    { type: 4, offset: 8192, length: 8192 },
    { type: 5, offset: 0, length: 65_536 },
    { type: 3 },
  ];
}

interface StockClient {
  readonly name: string;
  readonly program: string;
  readonly lines: (uri: string, file: string) => readonly (readonly string[])[];
}

const RAW = ['-f', 'raw', '-c'];
const STOCK: readonly StockClient[] = [
  { name: 'nbdinfo', program: 'nbdinfo', lines: (uri) => [[uri]] },
  { name: 'nbdinfo-list', program: 'nbdinfo', lines: (uri) => [['--list', uri]] },
  { name: 'nbdinfo-map', program: 'nbdinfo', lines: (uri) => [['--map', uri]] },
  {
    name: 'nbdcopy-in',
    program: 'nbdcopy',
    lines: (uri, file) => [['--connections=2', '--request-size=16384', file, uri]],
  },
  { name: 'nbdcopy-out', program: 'nbdcopy', lines: (uri, file) => [['--connections=1', '--requests=4', uri, file]] },
  {
    name: 'qemu-io',
    program: 'qemu-io',
    lines: (uri) => [
      [...RAW, 'write -P 7 4k 8k', '-c', 'read -P 7 4k 8k', '-c', 'write -z 8k 4k', uri],
      [...RAW, 'discard 0 64k', '-c', 'map', '-c', 'aio_write 512 1k', '-c', 'flush', uri],
    ],
  },
  { name: 'fio', program: 'fio', lines: (uri) => [fioLine(uri)] },
];

describe('a recorded session means the same when it is replayed', () => {
  it.each(Object.keys(WIRE_SESSIONS))('%s', async (name) => {
    const world = await start();
    const client = await WireClient.connect({ path: world.proxy.socketPath });
    onTestFinished(() => client.destroy());
    // A server without TLS refuses STARTTLS, and then gets something that is no option: it closes.
    await WIRE_SESSIONS[name]?.(client);
    client.end();
    await client.whenClosed;
    await recorded(world, name);
  });

  it.for(STOCK)('$name', async ({ name, program, lines }, context) => {
    needs(context, program === 'fio' ? 'fio with NBD' : program);
    const world = await start();
    const file = join(await temporaryFolder(), 'image');
    writeFileSync(file, Buffer.alloc(32 * 1024, 'nbdcopy '));
    for (const args of lines(world.uri, file)) await run(program, args);
    await recorded(world, name);
  });
});

function fioLine(uri: string): string[] {
  const work = [
    '--rw=randrw',
    '--bs=1k,2k',
    '--iodepth=8',
    '--io_size=48k',
    '--size=128k',
    '--fsync=8',
    '--randseed=1',
  ];
  return ['--name=x', '--ioengine=nbd', `--uri=${uri}`, ...work, '--output-format=terse'];
}

it('a session under TLS is recorded as it is on the wire', async (context) => {
  needs(context, 'openssl');
  const certificates = await makeCertificates(await temporaryFolder());
  const device = new MemoryDevice({ sizeBytes: VOLUME_BYTES });
  const server = await TestServer.start({
    exports: { v: { device } },
    tls: { mode: 'required', options: certificates.server },
  });
  const proxy = await RecordingProxy.start({ path: server.socketPath });
  const client = await WireClient.connect({ path: proxy.socketPath });
  onTestFinished(() => client.destroy());
  await client.greet();
  client.send(option(5));
  await client.readOptionReplies();
  const secured = tls.connect({ socket: client.detach(), rejectUnauthorized: false });
  await once(secured, 'secureConnect');
  client.replace(secured);
  client.send(option(7, infoData('v')));
  await client.readOptionReplies();
  expect((await client.ask({ type: READ, length: 4096 })).error).toBe(0);
  client.destroy();
  await server.server.drain();
  expect(server.count('connected tls v')).toBe(1);
  const [bytes] = proxy.recordings();
  // The hello of the client stands behind flags and option, in the clear.
  expect([bytes?.[20], bytes?.[21]]).toEqual([0x16, 0x03]);
  if (KEEPS && bytes !== undefined) keepInCorpus('sessions-tls', 'wire-tls-1.bin', bytes);
});

it('the corpus has sessions of our own client and of stock ones', () => {
  const names = corpusOf('sessions').map(({ name }) => name);
  for (const name of [...Object.keys(WIRE_SESSIONS), 'nbdinfo', 'nbdcopy-in', 'qemu-io', 'fio']) {
    expect(names).toContain(`${name}-1.bin`);
  }
});

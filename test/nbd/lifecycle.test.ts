import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { NbdError } from '../../src/nbd/nbd-error.js';
import { NbdServer } from '../../src/nbd/server.js';
import { ManualClock } from '../base/manual-clock.js';
import { SystemClock } from '../../src/base/system-clock.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { comesTrue } from '../base/waiting.js';
import { HeldDevice } from './held-device.js';
import { NOTHING_HELD, RECEIVE_PATHS, TestServer } from './test-server.js';
import { infoData, metaData, option, request, u32 } from './wire-client.js';

const READ = 0;
const WRITE = 1;
const FLUSH = 3;
const ESHUTDOWN = 108;

describe.each(RECEIVE_PATHS)('bytes $path', ({ copying }) => {
  /** A session with everything in it: options, writes short and long, refused ones, reads, block status, DISC. */
  const recorded = Buffer.concat([
    u32(3),
    option(8),
    option(10, metaData('v', ['base:allocation'])),
    option(7, infoData('v', [3])),
    request({ type: WRITE, offset: 0, payload: Buffer.alloc(40, 1) }),
    request({ type: READ, offset: 0, length: 70_000 }),
    request({ type: WRITE, offset: 1 << 20, payload: Buffer.alloc(30, 2) }),
    request({ type: 7, length: 4096 }),
    request({ type: FLUSH }),
    request({ type: 2 }),
  ]);

  it.each([
    ['closes', false],
    ['goes away', true],
  ])('a client that %s after any byte of a session leaves nothing behind', async (_what, abruptly) => {
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    for (let length = 0; length <= recorded.length; length += 1) {
      const client = await server.connect();
      if (length > 0) client.send(recorded.subarray(0, length));
      if (abruptly) client.destroy();
      else client.end();
      await server.until(() => server.count('handshake') + server.count('disconnected') === length + 1);
      client.destroy();
    }
    expect(server.server.usage()).toEqual(NOTHING_HELD);
    expect(server.opened).toBe(server.closed);
    expect(server.statistics.inFlight).toBe(0);
    expect(server.count('disconnected')).toBeGreaterThan(100);
  });

  it('a client that goes away in the middle of a long payload leaves nothing behind', async () => {
    const device = new MemoryDevice({ sizeBytes: 4 << 20 });
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const long = request({ type: WRITE, payload: Buffer.alloc(1 << 20, 7) });
    for (const [i, length] of [28, 29, 70_000, 300_000, 1 << 20, long.length].entries()) {
      const client = await server.connect();
      await client.go('v');
      client.send(long.subarray(0, length));
      client.end();
      await server.until(() => server.closed === i + 1);
    }
    expect(server.server.usage().bufferBytes).toBe(0);
    // Only the last one was a request.
    expect([server.statistics.operations[1], server.statistics.inFlight]).toEqual([1, 0]);
  });

  it('what the device still owns when a client goes away stays untouched until it is done', async () => {
    const device = new HeldDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    client.send(request({ type: WRITE, payload: Buffer.alloc(9000, 5) }), request({ type: READ, length: 4096 }));
    client.send(request({ type: WRITE, payload: Buffer.alloc(100_000, 6) }));
    await device.holding(3);
    client.destroy();
    const other = await server.connect();
    await other.go('v');
    // Others come and go, with buffers of the same pool.
    other.send(request({ type: WRITE, payload: Buffer.alloc(9000, 9) }));
    other.send(request({ type: WRITE, payload: Buffer.alloc(100_000, 9) }));
    await device.holding(5);
    expect(server.closed).toBe(0);
    for (const [index, byte] of [
      [0, 5],
      [2, 6],
    ] as const) {
      const { data, dataOffset, lengthBytes } = device.held[index];
      expect(data.subarray(dataOffset, dataOffset + lengthBytes).every((each) => each === byte)).toBe(true);
    }
    for (let i = 0; i < 3; i += 1) device.complete(0);
    await server.until(() => server.closed === 1);
    device.complete(0);
    device.complete(0);
    await other.readReply();
    await other.readReply();
  });

  it('kick drops one client, or all of a volume, and says whom', async () => {
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const server = await TestServer.start({ exports: { v: { device }, w: { device } }, copying });
    const clients = [await server.connect(), await server.connect(), await server.connectTcp(), await server.connect()];
    for (const [i, client] of clients.entries()) await client.go(i === 3 ? 'w' : 'v');
    const reports = server.server.connections('id-v');
    expect(reports.map((report) => report.transport)).toEqual(['unix', 'unix', 'tcp']);
    expect(new Set(reports.map((report) => report.address)).size).toBe(3);
    expect(reports[2].address).toBe(`127.0.0.1:${String(clients[2].localPort)}`);
    expect(await server.server.kick('id-v', reports[2].address)).toEqual([reports[2].address]);
    await clients[2].whenClosed;
    expect(await server.server.kick('id-v', 'unix:999')).toEqual([]);
    await server.until(() => server.count('disconnected it was kicked') === 1);
    expect((await server.server.kick('id-v')).length).toBe(2);
    await Promise.all([clients[0].whenClosed, clients[1].whenClosed]);
    await server.until(() => server.closed === 3);
    expect(server.server.connections('id-v')).toEqual([]);
    expect((await clients[3].ask({ type: READ, length: 1 })).error).toBe(0);
  });

  it('disconnectAll waits until the device owns nothing of the volume', async () => {
    const device = new HeldDevice();
    const server = await TestServer.start({ exports: { v: { device }, w: { device: new HeldDevice() } }, copying });
    const client = await server.connect();
    await client.go('v');
    client.send(request({ type: FLUSH }), request({ type: READ, length: 1000 }));
    await device.holding(2);
    expect(server.server.connections('id-v')[0].inFlight).toBe(2);
    let isDone = false;
    const done = server.server.disconnectAll('id-v').then(() => {
      isDone = true;
    });
    await client.whenClosed;
    device.complete(0);
    await new Promise(setImmediate);
    expect([isDone, server.closed]).toEqual([false, 0]);
    device.complete(0);
    await done;
    expect(server.closed).toBe(1);
    await server.server.disconnectAll('id-v');
  });

  it('drain answers what is in flight, refuses what comes, and ends', async () => {
    const device = new HeldDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    const idle = await server.connect();
    await idle.go('v');
    const negotiating = await server.connect();
    await negotiating.greet();
    client.send(request({ type: READ, cookie: 1n, length: 4096 }));
    await device.holding(1);
    const drained = server.server.drain();
    expect((await idle.readToEnd()).length).toBe(0);
    await negotiating.whenClosed;
    expect((await client.ask({ type: FLUSH, cookie: 2n })).error).toBe(ESHUTDOWN);
    expect((await client.ask({ type: WRITE, cookie: 3n, payload: Buffer.alloc(100_000) })).error).toBe(ESHUTDOWN);
    device.complete(0);
    const last = await client.readReply(4096);
    expect([last.cookie, last.error]).toEqual([1n, 0]);
    expect((await client.readToEnd()).length).toBe(0);
    await drained;
    expect(server.server.usage()).toEqual(NOTHING_HELD);
    await expect(server.connect()).rejects.toThrow();
    await expect(server.connectTcp()).rejects.toThrow();
    expect(fs.existsSync(server.socketPath)).toBe(false);
  });

  it('drain cuts those who are not done by its deadline', async () => {
    const clock = new ManualClock();
    const device = new HeldDevice();
    const server = await TestServer.start({ exports: { v: { device } }, copying, clock, limits: { drainMsMax: 3000 } });
    const client = await server.connect();
    await client.go('v');
    client.send(request({ type: FLUSH }));
    await device.holding(1);
    const drained = server.server.drain();
    clock.advance(3000);
    await client.whenClosed;
    device.complete(0);
    await drained;
    expect(server.events.at(-1)).toBe('disconnected the server is shutting down');
    expect(clock.pending).toBe(0);
  });

  it('a client that does not take its last replies is cut after a while', async () => {
    const clock = new ManualClock();
    const device = new MemoryDevice({ sizeBytes: 8 << 20 });
    const server = await TestServer.start({ exports: { v: { device } }, copying, clock, limits: { drainMsMax: 3000 } });
    const client = await server.connect();
    await client.go('v');
    client.pause();
    client.send(request({ type: READ, length: 8 << 20 }));
    await server.until(() => server.count('connected') === 1);
    await comesTrue('a read is done', () => server.statistics.operations[0] > 0);
    const drained = server.server.drain();
    clock.advance(3000);
    await drained;
    expect(server.server.usage().bufferBytes).toBe(0);
  });

  it('a client that aborts and takes no answer is cut at the deadline of its handshake', async () => {
    const clock = new ManualClock();
    const names = Object.fromEntries(
      Array.from({ length: 200 }, (_, i) => [`v${String(i)}`, { device: new MemoryDevice({ sizeBytes: 8192 }) }]),
    );
    const limits = { negotiationOutputBytesMax: 64 << 20, handshakeMsMax: 5000 };
    const server = await TestServer.start({ exports: names, copying, clock, limits });
    const client = await server.connect();
    await client.greet();
    client.pause();
    client.send(Buffer.concat([...Array.from({ length: 500 }, () => option(3)), option(2)]));
    // Somebody who came later has been answered: the server has seen all of it.
    const other = await server.connect();
    await other.greet();
    other.send(option(3));
    await other.readOptionReplies();
    expect(server.server.usage().connections).toBe(2);
    clock.advance(5000);
    await server.until(() => server.count('handshake') === 1);
    await comesTrue('the connections are gone', () => server.server.usage().connections === 0);
    await server.server.close();
    expect(server.server.usage().connections).toBe(0);
  });

  it('close ends everything, and twice is once', async () => {
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    const negotiating = await server.connect();
    await negotiating.greet();
    await Promise.all([server.server.close(), server.server.close()]);
    await Promise.all([client.whenClosed, negotiating.whenClosed]);
    await server.server.close();
    await server.server.drain();
    expect(server.opened).toBe(server.closed);
    await expect(server.server.listenTcp('127.0.0.1', 0)).rejects.toMatchObject({ fault: { code: 'CLOSED' } });
  });
});

describe('listening', () => {
  function bare(): NbdServer {
    return new NbdServer(
      {},
      { clock: new SystemClock(), exports: { list: () => [], open: () => ({ code: 'UNKNOWN' }) } },
    );
  }

  function codeOf(promise: Promise<unknown>): Promise<unknown> {
    return promise.then(
      () => null,
      (thrown: unknown) => (thrown instanceof NbdError ? thrown.code : thrown),
    );
  }

  it('a unix socket has the mode that was asked for, and is gone after close', async () => {
    const socketPath = path.join(await temporaryFolder(), 's');
    const server = bare();
    await server.listenUnix(socketPath);
    expect(fs.statSync(socketPath).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(path.dirname(socketPath))).toEqual(['s']);
    expect(server.unixPaths).toEqual([socketPath]);
    await server.close();
    expect(fs.readdirSync(path.dirname(socketPath))).toEqual([]);
  });

  it('a stale socket is replaced, one that answers is not', async () => {
    const socketPath = path.join(await temporaryFolder(), 's');
    const [first, second, third] = [bare(), bare(), bare()];
    await first.listenUnix(socketPath);
    expect(await codeOf(second.listenUnix(socketPath))).toBe('ADDRESS_IN_USE');
    // Closing keeps a copy of the socket file that nobody listens on.
    const stale = `${socketPath}2`;
    fs.linkSync(socketPath, stale);
    await first.close();
    await third.listenUnix(stale);
    const client = net.connect(stale);
    await new Promise((resolve) => client.once('data', resolve));
    client.destroy();
    await Promise.all([second.close(), third.close()]);
  });

  it('a path that is no socket, or cannot be one, is refused with the reason', async () => {
    const folder = await temporaryFolder();
    const file = path.join(folder, 'file');
    fs.writeFileSync(file, 'precious');
    const server = bare();
    expect(await codeOf(server.listenUnix(file))).toBe('NOT_A_SOCKET');
    expect(fs.readFileSync(file, 'utf8')).toBe('precious');
    expect(await codeOf(server.listenUnix(path.join(folder, 'none', 's')))).toBe('ADDRESS_REFUSED');
    expect(await codeOf(server.listenUnix(path.join(folder, 'x'.repeat(200))))).toBe('ADDRESS_REFUSED');
    expect(fs.readdirSync(folder)).toEqual(['file']);
    await server.close();
  });

  it('a port in use is refused, and the picked port is told', async () => {
    const [first, second] = [bare(), bare()];
    const { host, port } = await first.listenTcp('127.0.0.1', 0);
    expect([host, port > 0, first.tcpAddresses]).toEqual(['127.0.0.1', true, [{ host, port }]]);
    expect(await codeOf(second.listenTcp('127.0.0.1', port))).toBe('ADDRESS_IN_USE');
    await Promise.all([first.close(), second.close()]);
  });

  it('a server that is closed while it begins to listen does not listen', async () => {
    const socketPath = path.join(await temporaryFolder(), 's');
    const server = bare();
    const listening = [codeOf(server.listenUnix(socketPath)), codeOf(server.listenTcp('127.0.0.1', 0))];
    await server.close();
    expect(await Promise.all(listening)).toEqual(['CLOSED', 'CLOSED']);
    expect([fs.readdirSync(path.dirname(socketPath)), server.tcpAddresses]).toEqual([[], []]);
  });

  it('a listener that wants TLS needs a certificate', async () => {
    const server = bare();
    expect(await codeOf(server.listenTcp('127.0.0.1', 0, 'required'))).toBe('TLS_MISSING');
    await server.close();
  });
});

import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { CHUNK_BYTES, CHUNK_SLACK_BYTES, DEFAULT_NBD_LIMITS, assertNbdLimits } from '../../src/nbd/limits.js';
import { HeldDevice } from './held-device.js';
import { RECEIVE_PATHS, TestServer } from './test-server.js';
import { infoData, option, request } from './wire-client.js';

const READ = 0;
const WRITE = 1;
const KIB = 1024;
const CHUNK = CHUNK_BYTES + CHUNK_SLACK_BYTES;

/** A memory device that calls back at each request, so that a test can look at the server at its fullest. */
class WatchedDevice extends MemoryDevice {
  requests = 0;
  watch: () => void = () => undefined;

  override submit(of: Parameters<MemoryDevice['submit']>[0]): void {
    this.requests += 1;
    this.watch();
    super.submit(of);
  }
}

describe.each(RECEIVE_PATHS)('bytes $path', ({ copying }) => {
  it('a client that does not read is read no further, and does not hold up another', async () => {
    const slowDevice = new WatchedDevice({ sizeBytes: 1 << 20 });
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const limits = { outputBytesMax: 512 * KIB, sessionBytesMax: 2048 * KIB };
    const server = await TestServer.start({
      exports: { slow: { device: slowDevice }, v: { device } },
      limits,
      copying,
    });
    let heldMax = 0;
    slowDevice.watch = () => {
      heldMax = Math.max(heldMax, server.server.usage().bufferBytes);
    };
    const slow = await server.connect();
    await slow.go('slow');
    slow.pause();
    const count = 2000;
    for (let i = 0; i < count; i += 1) {
      slow.send(request({ type: READ, cookie: BigInt(i), offset: (i % 16) * 65_536, length: 65_536 }));
    }
    const other = await server.connect();
    await other.go('v');
    for (let i = 0; i < 200; i += 1) expect((await other.ask({ type: READ, offset: 0, length: 4096 })).error).toBe(0);
    // Two hundred turns later it was not served further than limits and the kernel's buffers go.
    expect(slowDevice.requests).toBeLessThan(count / 4);
    expect(heldMax).toBeLessThanOrEqual(limits.sessionBytesMax + 4 * CHUNK);
    slow.resume();
    for (let i = 0; i < count; i += 1) expect((await slow.readReply(65_536)).cookie).toBe(BigInt(i));
    expect(heldMax).toBeLessThanOrEqual(limits.sessionBytesMax + 4 * CHUNK);
  });

  it('requests in flight are bounded, and go on as they complete', async () => {
    const device = new HeldDevice();
    let inFlightMax = 0;
    const server = await TestServer.start({ exports: { v: { device } }, limits: { requestsInFlightMax: 8 }, copying });
    device.onSubmit = () => {
      inFlightMax = Math.max(inFlightMax, device.held.length);
    };
    const client = await server.connect();
    await client.go('v');
    const count = 3000;
    for (let i = 0; i < count; i += 1) client.send(request({ type: READ, cookie: BigInt(i), offset: 0, length: 512 }));
    for (let done = 0; done < count; done += 1) {
      await device.holding(Math.min(8, count - done));
      device.complete(0);
    }
    for (let i = 0; i < count; i += 1) expect((await client.readReply(512)).cookie).toBe(BigInt(i));
    expect(inFlightMax).toBe(8);
  });

  it.each([
    ['short', 4 * KIB, 800],
    ['long', 200 * KIB, 40],
  ])('memory for %s payloads is bounded while the device keeps them', async (_what, length, count) => {
    const device = new HeldDevice(64 << 20);
    const limits = { sessionBytesMax: 1200 * KIB };
    const server = await TestServer.start({ exports: { v: { device } }, limits, copying });
    let heldMax = 0;
    device.onSubmit = () => {
      heldMax = Math.max(heldMax, server.server.usage().bufferBytes);
    };
    const client = await server.connect();
    await client.go('v');
    for (let i = 0; i < count; i += 1) {
      client.send(request({ type: WRITE, cookie: BigInt(i), offset: 0, payload: Buffer.alloc(length, i) }));
    }
    for (let done = 0; done < count; done += 1) {
      await device.holding(1);
      const held = device.held[0];
      expect(held.data[held.dataOffset]).toBe(done & 0xff);
      expect(held.data[held.dataOffset + length - 1]).toBe(done & 0xff);
      device.complete(0);
    }
    for (let i = 0; i < count; i += 1) expect((await client.readReply()).cookie).toBe(BigInt(i));
    expect(heldMax).toBeLessThanOrEqual(limits.sessionBytesMax + 2 * CHUNK);
    client.destroy();
    await server.until(() => server.closed === 1);
    expect(server.server.usage().bufferBytes).toBe(0);
  });

  it('above the limit of the whole server every session still goes on, one request at a time', async () => {
    const device = new HeldDevice(64 << 20);
    const limits = { sessionBytesMax: 1024 * KIB, serverBytesMax: 1024 * KIB };
    const server = await TestServer.start({ exports: { v: { device } }, limits, copying });
    const clients = await Promise.all([server.connect(), server.connect(), server.connect()]);
    const count = 20;
    for (const client of clients) {
      await client.go('v');
      for (let i = 0; i < count; i += 1) client.send(request({ type: READ, offset: 0, length: 300_000 }));
    }
    for (let done = 0; done < 3 * count; done += 1) {
      await device.holding(1);
      device.complete(0);
    }
    for (const client of clients) {
      for (let i = 0; i < count; i += 1) expect((await client.readReply(300_000)).error).toBe(0);
    }
  });

  it('an idle session keeps one receive buffer', async () => {
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const server = await TestServer.start({ exports: { v: { device } }, copying });
    const client = await server.connect();
    await client.go('v');
    await client.ask({ type: READ, length: 300_000 });
    await client.ask({ type: WRITE, payload: Buffer.alloc(700_000) });
    // A reply is seen before the turn that sent it has ended.
    await client.ask({ type: 3 });
    await new Promise(setImmediate);
    expect(server.server.usage().bufferBytes).toBe(CHUNK);
  });
});

describe('connections', () => {
  const exports = { v: { device: new MemoryDevice({ sizeBytes: 1 << 20 }) } };

  it('one too many is closed at once, and told', async () => {
    const server = await TestServer.start({
      exports,
      limits: { connectionsMax: 2, negotiatingMax: 2, connectionsPerVolumeMax: 2 },
    });
    const clients = [await server.connect(), await server.connect()];
    for (const client of clients) await client.greet();
    const third = await server.connect();
    expect((await third.readToEnd()).length).toBe(0);
    expect(server.events).toEqual(['refused too many connections']);
    clients[0].destroy();
    await server.until(() => server.count('handshake') === 1);
    await (await server.connect()).go('v');
  });

  it('handshakes do not take the places of those who work', async () => {
    const server = await TestServer.start({ exports, limits: { negotiatingMax: 2 } });
    const worker = await server.connect();
    await worker.go('v');
    for (const client of [await server.connect(), await server.connect()]) await client.greet();
    expect((await (await server.connect()).readToEnd()).length).toBe(0);
    expect(server.events.at(-1)).toBe('refused too many connections in their handshake');
    expect((await worker.ask({ type: READ, length: 1 })).error).toBe(0);
  });

  it('of one volume are counted by volume', async () => {
    const two = { ...exports, w: { device: new MemoryDevice({ sizeBytes: 1 << 20 }) } };
    const server = await TestServer.start({ exports: two, limits: { connectionsPerVolumeMax: 1 } });
    await (await server.connect()).go('v');
    const second = await server.connect();
    await second.greet();
    second.send(option(7, infoData('v')));
    expect((await second.readOptionReplies())[0].type).toBe(0x80000002);
    second.send(option(6, infoData('v')));
    expect((await second.readOptionReplies()).at(-1)!.type).toBe(1);
    second.send(option(7, infoData('w')));
    expect((await second.readOptionReplies()).at(-1)!.type).toBe(1);
    expect(server.opened - server.closed).toBe(2);
  });
});

it('limits that contradict each other are refused', () => {
  expect(() => assertNbdLimits({ ...DEFAULT_NBD_LIMITS, sessionBytesMax: 1000 })).toThrow('room to receive');
  expect(() => assertNbdLimits({ ...DEFAULT_NBD_LIMITS, payloadBytesMax: 65_535 })).toThrow('unfragmented');
  expect(() => assertNbdLimits({ ...DEFAULT_NBD_LIMITS, handshakeMsMax: 0 })).toThrow('handshakeMsMax');
});

import { describe, expect, it } from 'vitest';
import { Operation, RequestFlag, type DeviceFault } from '../../src/device/block-device.js';
import { DeviceError } from '../../src/device/device-error.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { SeededRandom } from '../base/seeded-random.js';
import { HeldDevice, pattern } from './held-device.js';
import { RECEIVE_PATHS, TestServer, type TestServerOptions } from './test-server.js';
import { infoData, option, request, type WireClient, type WireRequest } from './wire-client.js';

const READ = 0;
const WRITE = 1;
const DISC = 2;
const FLUSH = 3;
const TRIM = 4;
const CACHE = 5;
const WRITE_ZEROES = 6;
const BLOCK_STATUS = 7;
const FUA = 1;
const NO_HOLE = 2;
const DF = 4;
const REQ_ONE = 8;
const FAST_ZERO = 16;
const EPERM = 1;
const EIO = 5;
const EINVAL = 22;
const ENOSPC = 28;
const EOVERFLOW = 75;
const ENOTSUP = 95;
const ESHUTDOWN = 108;
const SIZE = 1 << 20;

function random(seed: number, count: number): Buffer {
  return Buffer.from(new SeededRandom(seed).bytes(count));
}

describe.each(RECEIVE_PATHS)('bytes $path', ({ copying }) => {
  async function serving(
    device: MemoryDevice | HeldDevice,
    wants: { structured?: boolean; contexts?: string[] } = {},
    options: Partial<TestServerOptions> = {},
  ): Promise<{ server: TestServer; client: WireClient }> {
    const server = await TestServer.start({ exports: { v: { device } }, copying, ...options });
    const client = await server.connect();
    await client.go('v', wants);
    return { server, client };
  }

  describe('golden bytes', () => {
    it('simple replies', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }));
      client.send(
        Buffer.from(
          '25609513' + '0000' + '0001' + '00000000000000a1' + '0000000000000201' + '00000003' + '616263' +
            '25609513' + '0000' + '0000' + '00000000000000a2' + '0000000000000200' + '00000005' +
            '25609513' + '0000' + '0003' + '00000000000000a3' + '0000000000000000' + '00000000' +
            '25609513' + '0000' + '0000' + 'ffffffffffffffff' + '0000000000100000' + '00000001',
          'hex',
        ),
      ); // prettier-ignore
      expect((await client.read(16 + 21 + 16 + 16)).toString('hex')).toBe(
        '67446698' + '00000000' + '00000000000000a1' +
          '67446698' + '00000000' + '00000000000000a2' + '0061626300' +
          '67446698' + '00000000' + '00000000000000a3' +
          '67446698' + '00000016' + 'ffffffffffffffff',
      ); // prettier-ignore
    });

    it('structured replies', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }), {
        structured: true,
        contexts: ['base:allocation'],
      });
      client.send(
        Buffer.from(
          '25609513' + '0001' + '0001' + '00000000000000a1' + '0000000000001000' + '00000003' + '616263' +
            '25609513' + '0004' + '0000' + '00000000000000a2' + '0000000000001001' + '00000002' +
            '25609513' + '0000' + '0000' + '00000000000000a3' + '00000000000ffff0' + '00000011' +
            '25609513' + '0000' + '0063' + '00000000000000a4' + '0000000000000000' + '00000000',
          'hex',
        ),
      ); // prettier-ignore
      expect((await client.read(20 + 30 + 26 + 26)).toString('hex')).toBe(
        '668e33ef' + '0001' + '0000' + '00000000000000a1' + '00000000' +
          '668e33ef' + '0001' + '0001' + '00000000000000a2' + '0000000a' + '0000000000001001' + '6263' +
          '668e33ef' + '0001' + '8001' + '00000000000000a3' + '00000006' + '00000016' + '0000' +
          '668e33ef' + '0001' + '8001' + '00000000000000a4' + '00000006' + '00000016' + '0000',
      ); // prettier-ignore
      client.send(
        Buffer.from('25609513' + '0000' + '0007' + '00000000000000a5' + '0000000000000800' + '00003000', 'hex'),
      );
      expect((await client.read(20 + 4 + 24)).toString('hex')).toBe(
        '668e33ef' + '0001' + '0005' + '00000000000000a5' + '0000001c' + '00000001' +
          '00000800' + '00000003' + '00001000' + '00000000' + '00001800' + '00000003',
      ); // prettier-ignore
    });
  });

  describe('requests', () => {
    it('any offset and length, written in any pieces, reads back', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }), { structured: true });
      const image = Buffer.alloc(SIZE);
      const dice = new SeededRandom(7);
      for (let i = 0; i < 200; i += 1) {
        const roll = Buffer.from(dice.bytes(8));
        const offset = roll.readUInt32BE(0) % SIZE;
        const length = Math.min(SIZE - offset, 1 + (roll.readUInt32BE(4) % (i % 10 === 0 ? 300_000 : 9_000)));
        const data = random(i + 1, length);
        data.copy(image, offset);
        const bytes = request({ type: WRITE, cookie: BigInt(i), offset, payload: data });
        const cut = roll[7] % bytes.length;
        client.send(bytes.subarray(0, cut), bytes.subarray(cut));
        expect((await client.readReply()).error).toBe(0);
      }
      for (const [offset, length] of [
        [0, SIZE],
        [1, 4095],
        [4095, 2],
        [8191, 70_001],
      ] as const) {
        const reply = await client.ask({ type: READ, offset, length });
        expect(reply.payload.readBigUInt64BE(0)).toBe(BigInt(offset));
        expect(reply.payload.subarray(8).equals(image.subarray(offset, offset + length))).toBe(true);
      }
    });

    it('many writes in one piece, of all sizes around the limits of receive buffers', async () => {
      const { client, server } = await serving(new MemoryDevice({ sizeBytes: 4 * SIZE }));
      const sizes = [1, 27, 28, 29, 4096, 65_535, 65_536, 65_537, 100_000, 262_116, 262_144, 262_145, 500_000, 1, 4096];
      const parts: Buffer[] = [];
      const image = Buffer.alloc(4 * SIZE);
      let offset = 0;
      for (const [i, size] of sizes.entries()) {
        const payload = random(i + 1, size);
        payload.copy(image, offset);
        parts.push(request({ type: WRITE, cookie: BigInt(i), offset, payload }));
        offset += size;
      }
      client.send(Buffer.concat(parts));
      for (const i of sizes.keys()) {
        const reply = await client.readReply();
        expect([reply.cookie, reply.error]).toEqual([BigInt(i), 0]);
      }
      const back = await client.ask({ type: READ, offset: 0, length: offset });
      expect(back.payload.equals(image.subarray(0, offset))).toBe(true);
      client.destroy();
      await server.until(() => server.closed === 1);
      expect(server.server.usage().bufferBytes).toBe(0);
    });

    it.each([
      ['READ', { type: READ, flags: FUA, offset: 512, length: 1024 }, Operation.READ, RequestFlag.FUA],
      [
        'WRITE with FUA',
        { type: WRITE, flags: FUA, offset: 3, payload: random(1, 9) },
        Operation.WRITE,
        RequestFlag.FUA,
      ],
      ['FLUSH', { type: FLUSH }, Operation.FLUSH, 0],
      ['TRIM with FUA', { type: TRIM, flags: FUA, offset: 1, length: 9000 }, Operation.TRIM, RequestFlag.FUA],
      ['CACHE', { type: CACHE, offset: 1, length: 9000 }, Operation.CACHE, 0],
      [
        'WRITE_ZEROES with all its flags',
        { type: WRITE_ZEROES, flags: FUA | NO_HOLE | FAST_ZERO, offset: 5, length: 70_000 },
        Operation.WRITE_ZEROES,
        RequestFlag.FUA | RequestFlag.NO_HOLE | RequestFlag.FAST_ZERO,
      ],
    ] as [string, WireRequest, Operation, number][])(
      '%s reaches the device as it was meant',
      async (_what, of, operation, flags) => {
        const device = new HeldDevice();
        const { client, server } = await serving(device);
        client.send(request({ ...of, cookie: 0xfedcba9876543210n }));
        await device.holding(1);
        const held = device.held[0];
        expect([held.operation, held.offsetBytes, held.lengthBytes, held.flags]).toEqual([
          operation,
          Number(of.offset ?? 0),
          of.length ?? of.payload?.length ?? 0,
          flags,
        ]);
        if (of.payload !== undefined) {
          const bytes = Buffer.from(held.data.subarray(held.dataOffset, held.dataOffset + held.lengthBytes));
          expect(bytes.equals(of.payload)).toBe(true);
        }
        expect(server.statistics.inFlight).toBe(1);
        device.complete(0);
        const reply = await client.readReply(of.type === READ ? of.length : 0);
        expect([reply.cookie, reply.error]).toEqual([0xfedcba9876543210n, 0]);
        expect([server.statistics.inFlight, server.statistics.operations[operation]]).toEqual([0, 1]);
        expect(server.statistics.bytes[operation]).toBe(of.length ?? of.payload?.length ?? 0);
      },
    );

    it.each([
      ['READ', { type: READ }],
      ['WRITE', { type: WRITE }],
      ['TRIM', { type: TRIM, offset: SIZE }],
      ['WRITE_ZEROES', { type: WRITE_ZEROES }],
      ['CACHE', { type: CACHE }],
    ])('%s of no bytes succeeds without the device', async (_what, of) => {
      const device = new HeldDevice();
      const simple = await serving(device);
      expect((await simple.client.ask({ ...of, cookie: 5n })).error).toBe(0);
      const structured = await serving(device, { structured: true });
      expect(await structured.client.ask({ ...of, cookie: 5n })).toMatchObject({
        type: 0,
        flags: 1,
        error: 0,
        cookie: 5n,
      });
      expect(device.submitted).toBe(0);
    });

    it('DISC ends the connection after everything in flight was answered', async () => {
      const device = new HeldDevice();
      const { client, server } = await serving(device);
      client.send(request({ type: READ, offset: 4096, length: 4096, cookie: 1n }), request({ type: DISC, length: 0 }));
      await device.holding(1);
      device.complete(0);
      const reply = await client.readReply(4096);
      expect(reply.payload.every((byte) => byte === 1)).toBe(true);
      expect((await client.readToEnd()).length).toBe(0);
      await server.until(() => server.closed === 1);
      expect(server.events.at(-1)).toBe('disconnected the client disconnected');
    });

    it('a client that only stops sending gets all its answers', async () => {
      const device = new HeldDevice();
      const { client, server } = await serving(device);
      client.send(request({ type: FLUSH, cookie: 1n }), request({ type: FLUSH, cookie: 2n }));
      client.end();
      await device.holding(2);
      device.complete(1);
      device.complete(0);
      expect((await client.readReply()).cookie).toBe(2n);
      expect((await client.readReply()).cookie).toBe(1n);
      await server.until(() => server.closed === 1);
    });
  });

  describe('errors', () => {
    const cases: [string, WireRequest, number][] = [
      ['an unknown command', { type: 99 }, EINVAL],
      ['READ past the end', { type: READ, offset: SIZE - 1, length: 2 }, EINVAL],
      ['READ at 2^64 - 1', { type: READ, offset: 0xffffffffffffffffn, length: 1 }, EINVAL],
      ['READ at 2^53 + 1', { type: READ, offset: 2n ** 53n + 1n, length: 1 }, EINVAL],
      ['READ longer than a payload', { type: READ, offset: 0, length: (32 << 20) + 1 }, EOVERFLOW],
      ['WRITE past the end', { type: WRITE, offset: SIZE - 1, payload: random(1, 2) }, ENOSPC],
      ['WRITE far past the end', { type: WRITE, offset: 2n ** 60n, payload: random(1, 70_000) }, ENOSPC],
      ['WRITE with an unknown flag', { type: WRITE, flags: 1 << 5, payload: random(1, 600_000) }, EINVAL],
      ['WRITE longer than a payload', { type: WRITE, payload: Buffer.alloc((32 << 20) + 1) }, EOVERFLOW],
      ['TRIM past the end', { type: TRIM, offset: 4096, length: SIZE }, EINVAL],
      ['TRIM of 4 GiB', { type: TRIM, offset: 0, length: 0xffffffff }, EINVAL],
      ['WRITE_ZEROES past the end', { type: WRITE_ZEROES, offset: 4096, length: SIZE }, ENOSPC],
      ['CACHE past the end', { type: CACHE, offset: 4096, length: SIZE }, EINVAL],
      ['FLUSH with a length', { type: FLUSH, length: 1 }, EINVAL],
      ['FLUSH with an offset', { type: FLUSH, offset: 1 }, EINVAL],
      ['READ with NO_HOLE', { type: READ, flags: NO_HOLE, length: 1 }, EINVAL],
      ['WRITE with DF', { type: WRITE, flags: DF, payload: random(1, 5) }, EINVAL],
      ['TRIM with FAST_ZERO', { type: TRIM, flags: FAST_ZERO, length: 1 }, EINVAL],
      ['BLOCK_STATUS without a context', { type: BLOCK_STATUS, length: 1 }, EINVAL],
    ];

    it.each(cases)('%s, with simple replies', async (_what, of, errno) => {
      const device = new HeldDevice(SIZE);
      const { client, server } = await serving(device);
      expect(await client.ask({ ...of, cookie: 9n })).toMatchObject({ error: errno, cookie: 9n, structured: false });
      client.send(request({ type: FLUSH, cookie: 10n }));
      await device.holding(1);
      device.complete(0);
      expect(await client.readReply()).toMatchObject({ error: 0, cookie: 10n });
      expect([device.submitted, server.statistics.inFlight]).toEqual([1, 0]);
    });

    it.each(cases)('%s, with structured replies', async (_what, of, errno) => {
      const { client } = await serving(new HeldDevice(SIZE), { structured: true });
      expect(await client.ask({ ...of, cookie: 9n })).toMatchObject({
        error: errno,
        cookie: 9n,
        flags: 1,
        type: 0x8001,
      });
    });

    it('DF is only for those who negotiated structured replies', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }));
      expect((await client.ask({ type: READ, flags: DF, length: 1 })).error).toBe(EINVAL);
    });

    it.each([
      ['WRITE', { type: WRITE, payload: random(1, 4096) }],
      ['WRITE past the end', { type: WRITE, offset: SIZE, payload: random(1, 300_000) }],
      ['TRIM', { type: TRIM, length: 4096 }],
      ['WRITE_ZEROES', { type: WRITE_ZEROES, length: 4096 }],
    ])('%s on a read-only export is EPERM', async (_what, of) => {
      const device = new HeldDevice();
      device.readOnly = true;
      const { client } = await serving(device);
      expect((await client.ask(of)).error).toBe(EPERM);
      expect(device.submitted).toBe(0);
    });

    const faults: [DeviceFault, number, number][] = [
      [{ code: 'IO', detail: 'bad block' }, EIO, EIO],
      [{ code: 'FULL' }, ENOSPC, ENOSPC],
      [{ code: 'RANGE' }, ENOSPC, EINVAL],
      [{ code: 'READ_ONLY' }, EPERM, EPERM],
      [{ code: 'UNSUPPORTED' }, ENOTSUP, ENOTSUP],
      [{ code: 'CLOSED' }, ESHUTDOWN, ESHUTDOWN],
    ];
    it.each(faults)('a device fault %j', async (fault, onWrite, onRead) => {
      const device = new HeldDevice();
      const { client, server } = await serving(device, { structured: true });
      client.send(request({ type: WRITE, cookie: 1n, payload: random(1, 4096) }));
      client.send(request({ type: READ, cookie: 2n, offset: 5000, length: 4096 }));
      await device.holding(2);
      device.complete(0, fault);
      device.complete(0, fault);
      expect(await client.readReply()).toMatchObject({ cookie: 1n, error: onWrite, type: 0x8001, flags: 1 });
      const read = await client.readReply();
      expect(read).toMatchObject({ cookie: 2n, error: onRead, type: 0x8002, flags: 1 });
      expect(read.payload.readBigUInt64BE(6)).toBe(5000n);
      expect([server.count(`failed ${fault.code}`), server.statistics.errors[Operation.READ]]).toEqual([2, 1]);
    });

    it('a simple reply to a failed READ carries no data', async () => {
      const device = new HeldDevice();
      const { client } = await serving(device);
      client.send(request({ type: READ, cookie: 1n, length: 4096 }), request({ type: FLUSH, cookie: 2n }));
      await device.holding(2);
      device.complete(0, { code: 'IO', detail: '' });
      device.complete(0);
      expect((await client.read(32)).toString('hex')).toBe(
        '67446698' + '00000005' + '0000000000000001' + '67446698' + '00000000' + '0000000000000002',
      );
    });

    it('refused FAST_ZERO is ENOTSUP', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE, fastZero: false }));
      expect((await client.ask({ type: WRITE_ZEROES, flags: FAST_ZERO, length: 4096 })).error).toBe(ENOTSUP);
      expect((await client.ask({ type: WRITE_ZEROES, length: 4096 })).error).toBe(0);
    });

    it('something that is not a request ends the connection', async () => {
      const { client, server } = await serving(new MemoryDevice({ sizeBytes: SIZE }));
      client.send(request({ type: READ, length: 1, magic: 0x25609514 }));
      await client.whenClosed;
      await server.until(() => server.closed === 1);
      expect(server.events.at(-1)).toBe('disconnected the client sent something that is not a request');
    });

    it('failures are reported at a bounded pace, and none is lost from the count', async () => {
      const device = new HeldDevice();
      const { client, server } = await serving(device, {}, { limits: { failureReportsPerSecondMax: 2 } });
      for (let i = 0; i < 9; i += 1) client.send(request({ type: FLUSH, cookie: BigInt(i) }));
      await device.holding(9);
      for (let i = 0; i < 9; i += 1) device.complete(0, { code: 'IO', detail: '' });
      for (let i = 0; i < 9; i += 1) expect((await client.readReply()).error).toBe(EIO);
      client.destroy();
      await server.until(() => server.closed === 1);
      const told = server.events.filter((event) => event.startsWith('failed'));
      const suppressed = told.reduce((sum, event) => sum + Number(event.split(' ')[2]), 0);
      expect(told.length + suppressed).toBe(9);
      expect(told.length).toBeLessThanOrEqual(5);
    });
  });

  it('replies leave in whatever order the device completes them, each with its own data', async () => {
    const device = new HeldDevice(64 << 20);
    const { client } = await serving(device, { structured: true });
    const dice = new SeededRandom(99);
    for (let round = 0; round < 5; round += 1) {
      const requests = Array.from({ length: 100 }, (_, i) => {
        const [kind, high, low] = dice.bytes(3);
        const offset = (high * 256 + low) * 4096 * 0.25;
        if (kind % 3 === 0) return { type: WRITE, cookie: BigInt(i), offset, payload: random(i + 1, 1 + (low << 4)) };
        return { type: READ, cookie: BigInt(i), offset: offset - (offset % 4096), length: 1 + (kind << 5) };
      });
      client.send(Buffer.concat(requests.map(request)));
      await device.holding(requests.length);
      // A write's payload stays as it was sent until the write is done, whatever was received since.
      for (const [i, of] of requests.entries()) {
        const held = device.held[i];
        if (!('payload' in of) || of.payload === undefined) continue;
        const there = held.data.subarray(held.dataOffset, held.dataOffset + held.lengthBytes);
        expect(Buffer.compare(there, of.payload)).toBe(0);
      }
      const expected: bigint[] = [];
      const cookies = requests.map((of) => of.cookie);
      while (cookies.length > 0) {
        const index = dice.bytes(1)[0] % cookies.length;
        expected.push(...cookies.splice(index, 1));
        device.complete(index);
        // Sometimes the turn ends between completions.
        if (index % 4 === 0) await new Promise(setImmediate);
      }
      for (const cookie of expected) {
        const reply = await client.readReply();
        expect([reply.cookie, reply.error]).toEqual([cookie, 0]);
        const of = requests[Number(cookie)];
        if (of.type !== READ) continue;
        expect(reply.payload.readBigUInt64BE(0)).toBe(BigInt(of.offset));
        expect(reply.payload.subarray(8).every((byte) => byte === pattern(of.offset))).toBe(true);
      }
    }
  });

  describe('BLOCK_STATUS', () => {
    const wants = { structured: true, contexts: ['base:allocation'] };

    function descriptors(payload: Buffer): [number, number][] {
      const all: [number, number][] = [];
      for (let at = 4; at < payload.length; at += 8) all.push([payload.readUInt32BE(at), payload.readUInt32BE(at + 4)]);
      return all;
    }

    it('tells data from holes, and one descriptor with REQ_ONE', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }), wants);
      await client.ask({ type: WRITE, offset: 8192, payload: random(1, 4096) });
      await client.ask({ type: WRITE, offset: 12288, payload: random(1, 1) });
      const all = await client.ask({ type: BLOCK_STATUS, offset: 100, length: SIZE - 100 });
      expect(descriptors(all.payload)).toEqual([
        [8092, 3],
        [8192, 0],
        [SIZE - 16384, 3],
      ]);
      const one = await client.ask({ type: BLOCK_STATUS, flags: REQ_ONE, offset: 100, length: SIZE - 100 });
      expect(descriptors(one.payload)).toEqual([[8092, 3]]);
    });

    it('answers at most extentsMax descriptors', async () => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }), wants, { limits: { extentsMax: 3 } });
      for (let i = 0; i < 8; i += 2) await client.ask({ type: WRITE, offset: i * 4096, payload: random(1, 4096) });
      const reply = await client.ask({ type: BLOCK_STATUS, length: SIZE });
      expect(descriptors(reply.payload)).toEqual([
        [4096, 0],
        [4096, 3],
        [4096, 0],
      ]);
    });

    it.each([
      ['past the end', { offset: SIZE - 1, length: 2 }],
      ['of no bytes', { offset: 0, length: 0 }],
      ['with DF', { flags: DF, length: 5 }],
    ])('%s is EINVAL', async (_what, of) => {
      const { client } = await serving(new MemoryDevice({ sizeBytes: SIZE }), wants);
      expect((await client.ask({ type: BLOCK_STATUS, ...of })).error).toBe(EINVAL);
    });

    it.each([
      ['a damaged device', () => Promise.reject(new DeviceError('damage', { code: 'IO', detail: 'leaf' })), EIO],
      ['a closed device', () => Promise.reject(new DeviceError('closed', { code: 'CLOSED' })), ESHUTDOWN],
      ['a device that breaks', () => Promise.reject(new Error('what')), EIO],
      ['a device that answers nothing', () => Promise.resolve([]), EIO],
    ])('of %s is an error', async (_what, onExtents, errno) => {
      const device = new HeldDevice();
      device.onExtents = onExtents;
      const { client } = await serving(device, wants);
      expect((await client.ask({ type: BLOCK_STATUS, length: 4096 })).error).toBe(errno);
    });

    it('holds a device to what was asked', async () => {
      const device = new HeldDevice();
      device.onExtents = () =>
        Promise.resolve([
          { lengthBytes: 9999, allocated: true },
          { lengthBytes: 5, allocated: false },
        ]);
      const { client } = await serving(device, wants);
      expect(descriptors((await client.ask({ type: BLOCK_STATUS, length: 4096 })).payload)).toEqual([[4096, 0]]);
    });
  });

  it('half a request behind GO is completed by what comes later', async () => {
    const server = await TestServer.start({
      exports: { v: { device: new MemoryDevice({ sizeBytes: SIZE }) } },
      copying,
    });
    const client = await server.connect();
    await client.greet();
    const payload = random(3, 150_000);
    const write = request({ type: WRITE, cookie: 1n, offset: 7, payload });
    client.send(Buffer.concat([option(7, infoData('v')), write.subarray(0, 50)]));
    await client.readOptionReplies();
    client.send(write.subarray(50), request({ type: READ, cookie: 2n, offset: 7, length: payload.length }));
    expect(await client.readReply()).toMatchObject({ cookie: 1n, error: 0 });
    expect((await client.readReply(payload.length)).payload.equals(payload)).toBe(true);
  });

  it('a client keeps the size it was told, until it connects again', async () => {
    const device = new MemoryDevice({ sizeBytes: SIZE });
    const { client, server } = await serving(device);
    device.grow(2 * SIZE);
    expect((await client.ask({ type: READ, offset: SIZE, length: 1 })).error).toBe(EINVAL);
    expect((await client.ask({ type: WRITE, offset: SIZE, payload: random(1, 1) })).error).toBe(ENOSPC);
    const again = await server.connect();
    await again.go('v');
    expect((await again.ask({ type: WRITE, offset: 2 * SIZE - 1, payload: random(1, 1) })).error).toBe(0);
  });
});

import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/manual-clock.js';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { TestServer, type TestServerOptions } from './test-server.js';
import { infoData, metaData, option, u32, type WireClient } from './wire-client.js';

const ACK = 1;
const INFO = 3;
const UNSUP = 0x80000001;
const POLICY = 0x80000002;
const INVALID = 0x80000003;
const UNKNOWN = 0x80000006;
const SHUTDOWN = 0x80000007;
const TOO_BIG = 0x80000009;
const TLS_REQD = 0x80000005;

/** READ_ONLY absent: flags, flush, FUA, trim, zeroes, multi-conn, cache, fast zero. */
const FLAGS_READ_WRITE = 0x0d6d;
const FLAGS_WITH_DF = FLAGS_READ_WRITE | 0x80;
const FLAGS_READ_ONLY = 0x050f;

function device(): MemoryDevice {
  return new MemoryDevice({ sizeBytes: 0x40000 });
}

function start(options: Partial<TestServerOptions> = {}): Promise<TestServer> {
  return TestServer.start({ exports: { alpha: { device: device(), description: 'first' } }, ...options });
}

async function negotiating(server: TestServer, clientFlags = 3): Promise<WireClient> {
  const client = await server.connect();
  await client.greet(clientFlags);
  return client;
}

/** The final reply to one option. */
async function ask(client: WireClient, number: number, data?: Buffer): Promise<number> {
  client.send(option(number, data));
  const replies = await client.readOptionReplies();
  expect(replies.every((reply) => reply.option === number)).toBe(true);
  return replies.at(-1)!.type;
}

describe('golden bytes', () => {
  it('greets with fixed newstyle and no zeroes', async () => {
    const client = await (await start()).connect();
    expect((await client.read(18)).toString('hex')).toBe('4e42444d41474943' + '49484156454f5054' + '0003');
  });

  it('answers EXPORT_NAME with size, flags and 124 zeroes', async () => {
    const client = await negotiating(await start(), 1);
    client.send(Buffer.from('49484156454f5054' + '00000001' + '00000005' + '616c706861', 'hex'));
    expect((await client.read(134)).toString('hex')).toBe('0000000000040000' + '0d6d' + '00'.repeat(124));
  });

  it('answers EXPORT_NAME without zeroes when the client asked for that', async () => {
    const client = await negotiating(await start(), 3);
    client.send(option(1, Buffer.from('alpha')));
    expect((await client.read(10)).toString('hex')).toBe('0000000000040000' + '0d6d');
    expect((await client.ask({ type: 0, length: 16, cookie: 7n })).cookie).toBe(7n);
  });

  it('answers GO with what was asked', async () => {
    const client = await negotiating(await start());
    client.send(option(7, infoData('alpha', [1, 2, 3])));
    const head = '0003e889045565a9' + '00000007';
    expect((await client.read(32 + 27 + 27 + 34 + 20)).toString('hex')).toBe(
      `${head}000000030000000c` +
        '0000' +
        '0000000000040000' +
        '0d6d' +
        `${head}0000000300000007` +
        '0001' +
        Buffer.from('alpha').toString('hex') +
        `${head}0000000300000007` +
        '0002' +
        Buffer.from('first').toString('hex') +
        `${head}000000030000000e` +
        '0003' +
        '00000001' +
        '00001000' +
        '02000000' +
        `${head}0000000100000000`,
    );
  });

  it('lists names with their descriptions', async () => {
    const client = await negotiating(await start());
    client.send(option(3));
    const head = '0003e889045565a9' + '00000003';
    expect((await client.read(34 + 20)).toString('hex')).toBe(
      `${head}000000020000000e` + '00000005' + Buffer.from('alphafirst').toString('hex') + `${head}0000000100000000`,
    );
  });

  it('answers SET_META_CONTEXT with the id of base:allocation', async () => {
    const client = await negotiating(await start());
    expect(await ask(client, 8)).toBe(ACK);
    client.send(option(10, metaData('alpha', ['base:allocation'])));
    expect((await client.read(39 + 20)).toString('hex')).toBe(
      '0003e889045565a9' +
        '0000000a' +
        '00000004' +
        '00000013' +
        '00000001' +
        Buffer.from('base:allocation').toString('hex') +
        '0003e889045565a9' +
        '0000000a' +
        '00000001' +
        '00000000',
    );
  });
});

describe('options', () => {
  it('INFO tells about an export and opens nothing for long', async () => {
    const server = await start();
    const client = await negotiating(server);
    client.send(option(6, infoData('alpha', [0, 3, 3, 99])));
    const replies = await client.readOptionReplies();
    expect(replies.map((reply) => reply.type)).toEqual([INFO, INFO, ACK]);
    expect([server.opened, server.closed]).toEqual([1, 1]);
    expect(server.server.connections('id-alpha')).toEqual([]);
  });

  it.each([
    ['structured replies add DF', { structured: true }, FLAGS_WITH_DF],
    ['simple replies leave it out', {}, FLAGS_READ_WRITE],
  ])('transmission flags: %s', async (_what, wants, flags) => {
    const client = await negotiating(await start());
    if ('structured' in wants) await ask(client, 8);
    client.send(option(6, infoData('alpha')));
    expect((await client.readOptionReplies())[0].data.readUInt16BE(10)).toBe(flags);
  });

  it.each([
    ['export', { device: device(), readOnly: true }],
    ['device', { device: new MemoryDevice({ sizeBytes: 8192, readOnly: true }) }],
  ])('a read-only %s says so and offers nothing that writes', async (_what, of) => {
    const client = await negotiating(await start({ exports: { alpha: of } }));
    client.send(option(6, infoData('alpha')));
    expect((await client.readOptionReplies())[0].data.readUInt16BE(10)).toBe(FLAGS_READ_ONLY);
  });

  it('ABORT is acknowledged, and then the connection closed, without a complaint', async () => {
    const server = await start();
    const client = await negotiating(server);
    expect(await ask(client, 2)).toBe(ACK);
    client.end();
    await client.whenClosed;
    await server.server.drain();
    expect(server.events).toEqual([]);
  });

  it.each([
    ['an unknown option', 77, Buffer.from('xyz'), UNSUP],
    ['PEEK_EXPORT', 4, undefined, UNSUP],
    ['STARTTLS without a certificate', 5, undefined, UNSUP],
    ['LIST with data', 3, Buffer.from('x'), INVALID],
    ['STRUCTURED_REPLY with data', 8, Buffer.from('x'), INVALID],
    ['GO for no such export', 7, infoData('beta'), UNKNOWN],
    ['INFO for no such export', 6, infoData('beta'), UNKNOWN],
    ['GO with nothing', 7, Buffer.alloc(0), INVALID],
    ['GO with a name longer than its data', 7, Buffer.concat([u32(100), Buffer.from('alpha'), u32(0)]), INVALID],
    ['GO with a name of 4 GiB', 7, Buffer.concat([u32(0xffffffff), Buffer.from('alpha')]), INVALID],
    ['GO with fewer requests than it says', 7, infoData('alpha', [1]).subarray(0, 12), INVALID],
    ['GO with data behind its end', 7, Buffer.concat([infoData('alpha'), Buffer.from('x')]), INVALID],
    [
      'GO with a name that is not UTF-8',
      7,
      Buffer.concat([u32(2), Buffer.from([0xc3, 0x28]), Buffer.alloc(2)]),
      INVALID,
    ],
    ['GO with NUL in its name', 7, infoData('al\0pha'), INVALID],
    ['GO with a name over 4096 bytes', 7, infoData('n'.repeat(4097)), INVALID],
    ['LIST_META_CONTEXT before STRUCTURED_REPLY', 9, metaData('alpha', []), INVALID],
    ['SET_META_CONTEXT before STRUCTURED_REPLY', 10, metaData('alpha', ['base:allocation']), INVALID],
    ['data longer than an option may be', 7, Buffer.alloc(20_000), TOO_BIG],
  ])('%s is refused, and the negotiation goes on', async (_what, number, data, type) => {
    const server = await start();
    const client = await negotiating(server);
    expect(await ask(client, number, data)).toBe(type);
    expect(await ask(client, 7, infoData('alpha'))).toBe(ACK);
    expect(server.opened - server.closed).toBe(1);
  });

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['a name longer than its data', Buffer.concat([u32(90), Buffer.from('alpha')])],
    ['a count of 4 billion', Buffer.concat([u32(5), Buffer.from('alpha'), u32(0xffffffff)])],
    ['a query longer than its data', Buffer.concat([u32(5), Buffer.from('alpha'), u32(1), u32(50), Buffer.from('b')])],
    ['data behind its end', Buffer.concat([metaData('alpha', ['base:']), Buffer.from('x')])],
    ['a query without a namespace', metaData('alpha', ['allocation'])],
    [
      'a query that is not UTF-8',
      Buffer.concat([metaData('alpha', []).subarray(0, 9), u32(1), u32(1), Buffer.from([255])]),
    ],
  ])('a meta context request with %s is INVALID', async (_what, data) => {
    const client = await negotiating(await start());
    await ask(client, 8);
    expect(await ask(client, 9, data)).toBe(INVALID);
    expect(await ask(client, 10, data)).toBe(INVALID);
  });

  it.each([
    ['LIST without a query', 9, [], 1],
    ['LIST of the namespace', 9, ['base:'], 1],
    ['LIST of the context', 9, ['base:allocation'], 1],
    ['LIST of something else', 9, ['x-other:thing'], 0],
    ['SET of nothing', 10, [], 0],
    ['SET of the namespace', 10, ['base:'], 0],
    ['SET of the context among others', 10, ['x-a:b', 'base:allocation', 'base:allocation'], 1],
  ])('%s selects as the protocol says', async (_what, number, queries, contexts) => {
    const client = await negotiating(await start());
    await ask(client, 8);
    client.send(option(number, metaData('alpha', queries)));
    expect((await client.readOptionReplies()).length).toBe(contexts + 1);
  });

  it('contexts of one export do not count for another', async () => {
    const server = await start({ exports: { alpha: { device: device() }, beta: { device: device() } } });
    const client = await negotiating(server);
    await ask(client, 8);
    await ask(client, 10, metaData('alpha', ['base:allocation']));
    await ask(client, 7, infoData('beta'));
    expect((await client.ask({ type: 7, length: 4096 })).error).toBe(22);
  });

  it('a context set for an unknown export is refused and leaves none', async () => {
    const client = await negotiating(await start());
    await ask(client, 8);
    await ask(client, 10, metaData('alpha', ['base:allocation']));
    expect(await ask(client, 10, metaData('beta', ['base:allocation']))).toBe(UNKNOWN);
    await ask(client, 7, infoData('alpha'));
    expect((await client.ask({ type: 7, length: 4096 })).error).toBe(22);
  });

  it('the empty name is the only export, under its real name', async () => {
    const client = await negotiating(await start());
    client.send(option(7, infoData('', [1])));
    const replies = await client.readOptionReplies();
    expect(replies[1].data.toString('utf8', 2)).toBe('alpha');
    expect(replies.at(-1)!.type).toBe(ACK);
  });

  it.each([
    ['several exports', { alpha: { device: device() }, beta: { device: device() } }],
    ['no export', {}],
  ])('the empty name is unknown with %s', async (_what, exports) => {
    expect(await ask(await negotiating(await start({ exports })), 7, infoData(''))).toBe(UNKNOWN);
  });

  it.each([
    [{ code: 'UNKNOWN' } as const, UNKNOWN],
    [{ code: 'TLS_REQUIRED' } as const, TLS_REQD],
    [{ code: 'POLICY', detail: 'in use elsewhere' } as const, POLICY],
    [{ code: 'SHUTDOWN' } as const, SHUTDOWN],
  ])('a directory that refuses with %j', async (fault, type) => {
    const server = await start({ exports: { alpha: { device: device(), fault } } });
    const client = await negotiating(server);
    client.send(option(7, infoData('alpha')));
    const [reply] = await client.readOptionReplies();
    expect(reply.type).toBe(type);
    if (fault.code === 'POLICY') expect(reply.data.toString()).toBe('in use elsewhere');
    client.send(option(1, Buffer.from('alpha')));
    await client.whenClosed;
    expect(server.count('handshake NBD_OPT_EXPORT_NAME')).toBe(1);
  });

  it('options that arrive together are answered in order, and requests behind GO are not lost', async () => {
    const client = await negotiating(await start());
    client.send(
      Buffer.concat([option(3), option(8), option(7, infoData('alpha')), Buffer.from(REQUEST_READ_16, 'hex')]),
    );
    expect((await client.readOptionReplies()).length).toBe(2);
    expect((await client.readOptionReplies()).length).toBe(1);
    expect((await client.readOptionReplies()).length).toBe(2);
    expect((await client.readReply()).payload.length).toBe(8 + 16);
  });

  it('a handshake that comes byte by byte is a handshake', async () => {
    const client = await (await start()).connect();
    await client.read(18);
    const all = Buffer.concat([u32(3), option(77, Buffer.from('x')), option(7, infoData('alpha'))]);
    for (let i = 0; i < all.length; i += 1) client.send(all.subarray(i, i + 1));
    expect((await client.readOptionReplies())[0].type).toBe(UNSUP);
    expect((await client.readOptionReplies()).at(-1)!.type).toBe(ACK);
  });
});

const REQUEST_READ_16 = '25609513' + '0000' + '0000' + '0000000000000001' + '0000000000000000' + '00000010';

describe('violations close the connection', () => {
  it.each([
    ['unknown client flags', u32(4)],
    ['an option without its magic', Buffer.concat([u32(3), Buffer.from('IHAVEOPS'), u32(3), u32(0)])],
    ['GO without fixed newstyle', Buffer.concat([u32(2), option(7, infoData('alpha'))])],
    ['EXPORT_NAME of no export', Buffer.concat([u32(3), option(1, Buffer.from('beta'))])],
    ['EXPORT_NAME that is not UTF-8', Buffer.concat([u32(3), option(1, Buffer.from([255]))])],
    ['an option of 4 GiB', Buffer.concat([u32(3), option(7).subarray(0, 12), u32(0xffffffff)])],
  ])('%s', async (_what, bytes) => {
    const server = await start();
    const client = await server.connect();
    await client.read(18);
    client.send(bytes);
    expect((await client.readToEnd()).length).toBe(0);
    await server.until(() => server.count('handshake ') === 1);
    expect([server.server.usage().connections, server.opened - server.closed]).toEqual([0, 0]);
  });

  it('too many options', async () => {
    const server = await start({ limits: { optionsMax: 10 } });
    const client = await negotiating(server);
    for (let i = 0; i < 10; i += 1) expect(await ask(client, 77)).toBe(UNSUP);
    client.send(option(77));
    expect((await client.readToEnd()).length).toBe(0);
    expect(server.events).toEqual(['handshake too many options']);
  });

  it('a handshake that takes too long, however busy it looks', async () => {
    const clock = new ManualClock();
    const server = await start({ clock, limits: { handshakeMsMax: 5_000 } });
    const client = await negotiating(server);
    clock.advance(4_999);
    expect(await ask(client, 3)).toBe(ACK);
    clock.advance(1);
    await client.whenClosed;
    expect(server.events).toEqual(['handshake the handshake took too long']);
    expect(clock.pending).toBe(0);
  });

  it('the deadline ends with the handshake', async () => {
    const clock = new ManualClock();
    const server = await start({ clock });
    const client = await server.connect();
    await client.go('alpha');
    clock.advance(1_000_000);
    expect((await client.ask({ type: 0, length: 1 })).error).toBe(0);
  });
});

it('a client that asks and reads nothing is not read for long', async () => {
  const names = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`v${String(i)}`, { device: device() }]));
  const server = await start({ exports: names, limits: { negotiationOutputBytesMax: 4096 } });
  const client = await negotiating(server);
  client.pause();
  const lists = 1000;
  client.send(Buffer.concat(Array.from({ length: lists }, () => option(3))));
  // Somebody else is served meanwhile.
  const other = await negotiating(server);
  for (let i = 0; i < 20; i += 1) expect(await ask(other, 3)).toBe(ACK);
  client.resume();
  for (let i = 0; i < lists; i += 1) expect((await client.readOptionReplies()).length).toBe(101);
});

import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import * as tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { NbdError } from '../../src/nbd/nbd-error.js';
import { TlsTerminator } from '../../src/nbd/tls-terminator.js';
import type { TlsMode } from '../../src/nbd/handshake.js';
import { ManualClock } from '../base/manual-clock.js';
import { makeCertificates, type Certificates } from './certificates.js';
import { missing, run, sayAloud } from './programs.js';
import { TestServer, type TestServerOptions } from './test-server.js';
import { infoData, option, request, type WireClient } from './wire-client.js';

const ACK = 1;
const STARTTLS = 5;
const INVALID = 0x80000003;
const TLS_REQD = 0x80000005;

const noOpenssl = missing('openssl', ['version']);
if (noOpenssl !== '') sayAloud(`TLS (${noOpenssl})`);

describe.skipIf(noOpenssl !== '')('TLS', () => {
  let certificates: Certificates;

  beforeAll(async () => {
    certificates = await makeCertificates(fs.mkdtempSync(path.join(os.tmpdir(), 'nbd-tls-')));
  });
  afterAll(() => fs.rmSync(certificates.folder, { recursive: true, force: true }));

  function start(
    mode: TlsMode,
    wants: { clients?: boolean } = {},
    options: Partial<TestServerOptions> = {},
  ): Promise<TestServer> {
    return TestServer.start({
      exports: { v: { device: new MemoryDevice({ sizeBytes: 8 << 20 }) } },
      tls: {
        mode,
        options: {
          ...certificates.server,
          ...(wants.clients === true ? { clientAuthority: certificates.authority } : {}),
        },
      },
      ...options,
    });
  }

  async function ask(client: WireClient, number: number, data?: Buffer): Promise<number> {
    client.send(option(number, data));
    return (await client.readOptionReplies()).at(-1)!.type;
  }

  /** Goes on over TLS, after the server has acknowledged STARTTLS. Throws when the handshake fails. */
  async function secure(client: WireClient, options: tls.ConnectionOptions = {}): Promise<void> {
    const socket = tls.connect({
      socket: client.detach(),
      ca: certificates.authority,
      servername: 'localhost',
      ...options,
    });
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('closed in the handshake')));
    });
    client.replace(socket);
  }

  it('required: refuses every other option until TLS runs, then serves', async () => {
    const server = await start('required');
    const client = await server.connectTcp();
    await client.greet();
    for (const number of [3, 6, 7, 8, 9, 10, 77]) {
      expect(await ask(client, number, number > 5 && number < 8 ? infoData('v') : undefined)).toBe(TLS_REQD);
    }
    expect(await ask(client, STARTTLS)).toBe(ACK);
    await secure(client);
    expect(await ask(client, STARTTLS)).toBe(INVALID);
    expect(await ask(client, 8)).toBe(ACK);
    expect(await ask(client, 7, infoData('v'))).toBe(ACK);
    const payload = Buffer.alloc(1 << 20, 'galleon');
    expect((await client.ask({ type: 1, offset: 777, payload })).error).toBe(0);
    const reply = await client.ask({ type: 0, offset: 777, length: payload.length });
    expect(reply.payload.subarray(8).equals(payload)).toBe(true);
    expect(server.server.connections('id-v')[0].transport).toBe('tls');
    client.send(request({ type: 2 }));
    await server.until(() => server.closed === 1);
    expect(server.events).toEqual(['connected tls v', 'disconnected the client disconnected']);
  });

  it('required: EXPORT_NAME in the clear ends the connection', async () => {
    const server = await start('required');
    const client = await server.connect();
    await client.greet();
    client.send(option(1, Buffer.from('v')));
    expect((await client.readToEnd()).length).toBe(0);
    expect(server.opened).toBe(0);
  });

  it('required: ABORT needs no TLS', async () => {
    const client = await (await start('required')).connect();
    await client.greet();
    expect(await ask(client, 2)).toBe(ACK);
  });

  it('optional: serves in the clear and under TLS', async () => {
    const server = await start('optional');
    const plain = await server.connect();
    await plain.go('v');
    expect((await plain.ask({ type: 0, length: 5 })).error).toBe(0);
    const client = await server.connect();
    await client.greet();
    expect(await ask(client, STARTTLS)).toBe(ACK);
    await secure(client);
    expect(await ask(client, 7, infoData('v'))).toBe(ACK);
    expect(server.server.connections('id-v').map((each) => each.transport)).toEqual(['unix', 'tls']);
  });

  it('what was agreed in the clear is forgotten', async () => {
    const server = await start('optional');
    const client = await server.connect();
    await client.greet();
    expect(await ask(client, 8)).toBe(ACK);
    expect(await ask(client, STARTTLS)).toBe(ACK);
    await secure(client);
    expect(await ask(client, 10, Buffer.alloc(8))).toBe(INVALID);
    expect(await ask(client, 7, infoData('v'))).toBe(ACK);
    expect((await client.ask({ type: 0, length: 5 })).structured).toBe(false);
  });

  it('bytes in the clear behind STARTTLS do not count as said under TLS', async () => {
    const server = await start('required');
    const client = await server.connect();
    await client.greet();
    client.send(Buffer.concat([option(STARTTLS), option(7, infoData('v'))]));
    await client.whenClosed;
    expect([server.opened, server.events]).toEqual([0, ['handshake data behind NBD_OPT_STARTTLS']]);
  });

  it('STARTTLS with data is invalid', async () => {
    const client = await (await start('optional')).connect();
    await client.greet();
    expect(await ask(client, STARTTLS, Buffer.from('x'))).toBe(INVALID);
  });

  it('something that is not TLS ends the connection, told once', async () => {
    const server = await start('required');
    const client = await server.connect();
    await client.greet();
    expect(await ask(client, STARTTLS)).toBe(ACK);
    client.send(Buffer.alloc(100, 'x'));
    await client.whenClosed;
    await server.until(() => server.events.length > 0);
    expect(server.events[0]).toMatch(/^handshake the TLS handshake failed/);
    expect([server.events.length, server.server.usage().connections]).toEqual([1, 0]);
  });

  it('a client that stops in the middle of the TLS handshake is cut at the deadline', async () => {
    const clock = new ManualClock();
    const server = await start('required', {}, { clock, limits: { handshakeMsMax: 5000 } });
    const client = await server.connect();
    await client.greet();
    expect(await ask(client, STARTTLS)).toBe(ACK);
    client.send(Buffer.from('1603010200', 'hex'));
    clock.advance(5000);
    await client.whenClosed;
    expect(server.events).toEqual(['handshake the handshake took too long']);
  });

  it('a client that leaves in the middle of the TLS handshake leaves nothing behind', async () => {
    const server = await start('required');
    const client = await server.connect();
    await client.greet();
    expect(await ask(client, STARTTLS)).toBe(ACK);
    client.destroy();
    await server.until(() => server.count('handshake') === 1);
    expect(server.server.usage().connections).toBe(0);
  });

  it('client certificates: with one of the authority', async () => {
    const server = await start('required', { clients: true });
    const client = await server.connectTcp();
    await client.greet();
    await ask(client, STARTTLS);
    await secure(client, { cert: certificates.client.certificate, key: certificates.client.privateKey });
    expect(await ask(client, 7, infoData('v'))).toBe(ACK);
  });

  it.each([
    ['none', {}],
    ['one of nobody we know', { selfSigned: true }],
  ])('client certificates: %s is turned away', async (_what, { selfSigned }: { selfSigned?: boolean }) => {
    const server = await start('required', { clients: true });
    const client = await server.connectTcp();
    await client.greet();
    await ask(client, STARTTLS);
    let own = {};
    if (selfSigned === true) {
      const folder = fs.mkdtempSync(path.join(certificates.folder, 'other-'));
      const other = await makeCertificates(folder);
      own = { cert: other.client.certificate, key: other.client.privateKey };
    }
    // With TLS 1.3 the client believes in success until it hears otherwise.
    await secure(client, own).catch(() => undefined);
    client.send(option(7, infoData('v')));
    await server.until(() => server.count('handshake') === 1);
    expect([server.opened, server.server.usage().connections]).toEqual([0, 0]);
  });

  it('certificates can be replaced while connections go on; a bad one changes nothing', async () => {
    const server = await start('required');
    const old = await server.connectTcp();
    await old.greet();
    await ask(old, STARTTLS);
    await secure(old);
    expect(await ask(old, 7, infoData('v'))).toBe(ACK);
    const other = await makeCertificates(fs.mkdtempSync(path.join(certificates.folder, 'new-')));
    const bad = { certificate: other.server.certificate, privateKey: certificates.server.privateKey };
    expect(() => server.server.reloadTls(bad)).toThrow(NbdError);
    for (const authority of [certificates.authority, other.authority]) {
      const client = await server.connectTcp();
      await client.greet();
      await ask(client, STARTTLS);
      await secure(client, { ca: authority });
      expect(await ask(client, 7, infoData('v'))).toBe(ACK);
      server.server.reloadTls(other.server);
    }
    expect((await old.ask({ type: 0, length: 1 })).error).toBe(0);
  });

  it('rubbish in place of a certificate is refused with the reason', () => {
    expect(() => new TlsTerminator({ certificate: 'rubbish', privateKey: 'rubbish' })).toThrow(
      /certificate, key or client authority cannot be used/,
    );
  });

  const noNbdinfo = missing('nbdinfo');
  if (noNbdinfo !== '') sayAloud(`TLS with libnbd (${noNbdinfo})`);
  it.skipIf(noNbdinfo !== '')('nbdinfo and nbdcopy come in with their certificates', async () => {
    const server = await start('required', { clients: true });
    const certs = `tls-certificates=${certificates.folder}`;
    const uri = `nbds://localhost:${String(server.port)}/v?${certs}`;
    const info = JSON.parse(await run('nbdinfo', ['--json', uri])) as { TLS: boolean; exports: unknown[] };
    expect([info.TLS, info.exports.length]).toEqual([true, 1]);
    const image = path.join(server.folder, 'image');
    const back = path.join(server.folder, 'back');
    const bytes = Buffer.alloc(8 << 20);
    for (let at = 0; at < bytes.length; at += 4) bytes.writeUInt32LE((at * 2654435761) >>> 0, at);
    fs.writeFileSync(image, bytes);
    await run('nbdcopy', [image, uri]);
    await run('nbdcopy', [uri, back]);
    expect(fs.readFileSync(back).equals(bytes)).toBe(true);
    await expect(run('nbdinfo', [`nbd://localhost:${String(server.port)}/v`])).rejects.toThrow();
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChannelCredentials, type Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SystemClock } from '../../../src/base/system-clock.js';
import { CloseStack } from '../../../src/base/lifecycle.js';
import type { ControlPlane } from '../../../src/control/control-plane.js';
import {
  CreateVolumeRequest,
  DaemonClient,
  type Event,
  type ImageChunk,
  ImportMessage,
  NodeStatus,
  StorageClassesClient,
  type Volume,
  VolumesClient,
} from '../../../src/ipc/generated/control.js';
import { ControlServer, type ControlServerOptions } from '../../../src/ipc/server/control-server.js';
import { CALLS_MAX } from '../../../src/ipc/server/limits.js';
import { ServerCertificates } from '../../../src/ipc/server/server-credentials.js';
import { comesTrue, settle } from '../../base/waiting.js';
import { FakeWorld } from '../../control/fake-world.js';
import { selfSigned } from './certificates.js';

const TOKEN = 'a-token-of-a-test';
let world: FakeWorld;
let plane: ControlPlane;
let stopped: string[];
const closing = new CloseStack();

beforeEach(async () => {
  world = new FakeWorld();
  stopped = [];
  plane = await world.start();
  closing.push(plane);
});
afterEach(() => closing.close());

async function listen(
  options: Partial<ControlServerOptions> = {},
  certificates: ServerCertificates | null = null,
): Promise<ControlServer> {
  const server = await ControlServer.listen(
    { host: '127.0.0.1', port: 0, token: TOKEN, ...options },
    {
      plane,
      node: {
        status: () => NodeStatus.fromPartial({ state: 'ready', volumes: plane.counts().volumes }),
        config: () => [],
        stop: (caller) => void stopped.push(caller.actor),
        pid: 42,
      },
      certificates,
      clock: new SystemClock(),
      log: world.log,
    },
  );
  closing.push(server);
  return server;
}

function own<T extends Client>(client: T): T {
  closing.defer(() => {
    client.close();
  });
  return client;
}

const volumesOf = (server: ControlServer, how: ChannelCredentials = credentials.createInsecure()): VolumesClient =>
  own(new VolumesClient(server.address, how));

function metadata(token: string | null = TOKEN, actor?: string): Metadata {
  const made = new Metadata();
  if (token !== null) made.set('authorization', `Bearer ${token}`);
  if (actor !== undefined) made.set('galleon-actor', actor);
  return made;
}

/** A unary call as a promise; every call of these tests has a deadline. */
function call<Request, Response>(
  run: (
    request: Request,
    metadata: Metadata,
    options: object,
    done: (error: ServiceError | null, response: Response) => void,
  ) => unknown,
  request: Request,
  with_: Metadata = metadata(),
): Promise<Response> {
  return new Promise((resolve, reject) => {
    run(request, with_, { deadline: new Date(Date.now() + 10_000) }, (error, response) => {
      if (error === null) resolve(response);
      else reject(error);
    });
  });
}

const create = (fields: Partial<CreateVolumeRequest>): CreateVolumeRequest =>
  CreateVolumeRequest.fromPartial({ sizeBytes: 1024 * 1024, ...fields });

describe('the control server', () => {
  it('carries a volume there and back', async () => {
    const client = volumesOf(await listen());
    const made = await call(
      client.create.bind(client),
      create({ name: 'web', labels: { app: 'db' } }),
      metadata(TOKEN, 'cli uid=0'),
    );
    expect(made).toMatchObject({
      name: 'web',
      sizeBytes: 1024 * 1024,
      replicas: { current: 1, desired: 3 },
      labels: { app: 'db' },
    });
    const exported = await call(client.export.bind(client), { volume: 'web', readOnly: true });
    expect(exported.export).toMatchObject({ name: 'web', readOnly: true, connections: [] });
    const { volumes } = await call(client.list.bind(client), { labels: {}, retained: false });
    expect(volumes.map((volume) => volume.id)).toEqual([made.id]);
    expect(await call(client.delete.bind(client), { volume: 'web', force: false, withSnapshots: false })).toMatchObject(
      {
        outcome: 'retained',
      },
    );
    expect(plane.events.recent(0, '')[0]).toMatchObject({ kind: 'volume.created', actor: 'cli uid=0' });
  });

  it('translates faults into statuses', async () => {
    const server = await listen();
    const client = volumesOf(server);
    const classes = own(new StorageClassesClient(server.address, credentials.createInsecure()));
    await call(client.create.bind(client), create({ name: 'web' }));
    await expect(call(client.get.bind(client), { volume: 'nobody', retained: false })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    await expect(call(client.create.bind(client), create({ name: 'web' }))).rejects.toMatchObject({
      code: status.ALREADY_EXISTS,
    });
    await expect(call(client.create.bind(client), create({ name: 'W' }))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(
      call(client.expand.bind(client), { volume: 'web', sizeBytes: 4096, relative: false }),
    ).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: expect.stringContaining('clone'),
    });
    await expect(call(classes.create.bind(classes), { document: '{', fileName: 'x' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(call(classes.delete.bind(classes), { name: 'fast-local-ssd' })).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    world.meta.trouble = new Error('a bug');
    await expect(call(client.create.bind(client), create({ name: 'x' }))).rejects.toMatchObject({
      code: status.INTERNAL,
    });
    expect(world.log.lines.some((line) => line.level === 'error')).toBe(true);
  });

  it.each([
    ['no token', metadata(null)],
    ['a wrong token', metadata('wrong')],
    ['a token that begins right', metadata(TOKEN.slice(0, -1))],
    ['a longer token', metadata(`${TOKEN}x`)],
  ])('refuses %s on every kind of call', async (_, wrong) => {
    const server = await listen();
    const client = volumesOf(server);
    await expect(call(client.create.bind(client), create({ name: 'web' }), wrong)).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    const streamed = new Promise((resolve, reject) =>
      client.stats({ volume: '', intervalMs: 0, samples: 0 }, wrong).on('data', resolve).on('error', reject),
    );
    await expect(streamed).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    const imported = new Promise((resolve, reject) => {
      const upload = client.importImage(wrong, (error, volume) => (error === null ? resolve(volume) : reject(error)));
      upload.on('error', () => undefined);
      upload.write(ImportMessage.fromPartial({ create: create({ name: 'web' }) }));
    });
    await expect(imported).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    expect(plane.volumes.list({}, false)).toEqual([]);
    expect(JSON.stringify(world.log.lines)).not.toContain(TOKEN.slice(0, -1));
  });

  it('refuses a message that is too large, and lives on', async () => {
    const client = volumesOf(await listen());
    const huge = create({ name: 'x'.repeat(5 * 1024 * 1024) });
    await expect(call(client.create.bind(client), huge)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    await call(client.create.bind(client), create({ name: 'web' }));
  });

  it('answers stop before it stops', async () => {
    const server = await listen();
    const client = own(new DaemonClient(server.address, credentials.createInsecure()));
    expect(await call(client.stop.bind(client), {}, metadata(TOKEN, 'cli uid=7'))).toEqual({ pid: 42 });
    expect(stopped).toEqual(['cli uid=7']);
    expect(await call(client.status.bind(client), {})).toMatchObject({ state: 'ready' });
  });

  it('has room for so many calls and no more', async () => {
    const server = await listen();
    const streams = [];
    for (let connection = 0; connection < CALLS_MAX / 64; connection += 1) {
      // A channel of its own for each, or they would share one connection and its limit.
      const client = own(
        new DaemonClient(server.address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
      );
      for (let stream = 0; stream < 64; stream += 1) {
        const events = client.events({ follow: true, limit: 0, volume: '' }, metadata());
        events.on('error', () => undefined);
        streams.push(events);
      }
    }
    const late = own(
      new DaemonClient(server.address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 }),
    );
    let refused: unknown = null;
    for (let round = 0; refused === null && round < 500; round += 1) {
      refused = await call(late.status.bind(late), {}).then(
        () => null,
        (thrown: unknown) => thrown,
      );
    }
    expect(refused).toMatchObject({ code: status.UNAVAILABLE });
    for (const stream of streams) stream.cancel();
    let answered = false;
    for (let round = 0; !answered && round < 500; round += 1) {
      answered = await call(late.status.bind(late), {}).then(
        () => true,
        () => false,
      );
    }
    expect(answered).toBe(true);
  });
});

describe('streams', () => {
  it('follow events until the client goes', async () => {
    const server = await listen();
    const client = own(new DaemonClient(server.address, credentials.createInsecure()));
    const stream = client.events({ follow: true, limit: 0, volume: '' }, metadata());
    const seen: Event[] = [];
    const first = new Promise<void>((resolve) => {
      stream.on('data', (event: Event) => {
        seen.push(event);
        resolve();
      });
    });
    const ended = new Promise((resolve) => stream.on('error', resolve));
    plane.events.append({ kind: 'test', volume: '', volumeId: '', actor: 'a', message: 'hello', level: 'info' });
    await first;
    expect(seen[0]).toMatchObject({ id: 1, message: 'hello' });
    stream.cancel();
    expect(await ended).toMatchObject({ code: status.CANCELLED });
    // The process and the server are still there.
    await call(client.status.bind(client), {});
  });

  it('are sent home when the server closes, and close is done soon', async () => {
    const server = await listen({ shutdownMsMax: 30_000 });
    const client = own(new DaemonClient(server.address, credentials.createInsecure()));
    const stream = client.events({ follow: true, limit: 0, volume: '' }, metadata());
    const ended = new Promise((resolve) => stream.on('error', resolve));
    await new Promise(
      (resolve) =>
        stream.on('metadata', resolve).on('data', resolve) &&
        plane.events.append({ kind: 'test', volume: '', volumeId: '', actor: 'a', message: 'x', level: 'info' }),
    );
    await server.close();
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
    await server.close();
  });

  it('cuts off at the deadline what does not end', async () => {
    const server = await listen({ shutdownMsMax: 50 });
    const client = volumesOf(server);
    const upload = client.importImage(metadata(), () => undefined);
    upload.on('error', () => undefined);
    upload.write(ImportMessage.fromPartial({ create: create({ name: 'slow' }) }));
    await comesTrue('the import opens its layer', () => world.host.handles.size > 0);
    await server.close();
    await comesTrue('the import is undone', () => world.host.store.size === 0);
    expect(plane.volumes.list({}, false)).toEqual([]);
  });

  it('hold back when the client does not read', async () => {
    const server = await listen();
    const session = await plane.volumes.beginImport(
      { ...create({ name: 'big', sizeBytes: 64 * 1024 * 1024 }) },
      { actor: 'test' },
    );
    for (let at = 0; at < 64; at += 1) await session.write(at * 1024 * 1024, new Uint8Array(1024 * 1024).fill(at + 1));
    await session.complete();
    const client = volumesOf(server);
    const stream = client.exportImage({ volume: 'big' }, metadata());
    let received = 0;
    stream.on('data', (chunk: ImageChunk) => {
      received += chunk.data.length;
      if (received === 1024 * 1024) stream.pause();
    });
    await comesTrue('the first piece', () => received >= 1024 * 1024);
    const handle = [...world.host.handles.values()][0];
    let reads = 0;
    const submit = handle.submit.bind(handle);
    handle.submit = (one) => {
      reads += 1;
      submit(one);
    };
    for (let round = 0; round < 20; round += 1) await settle();
    // What was not read by then waits: the server has not gone through the volume.
    const readWhilePaused = reads;
    const ended = new Promise((resolve, reject) => stream.on('end', resolve).on('error', reject));
    stream.resume();
    await ended;
    expect(received).toBe(64 * 1024 * 1024);
    expect(reads).toBeGreaterThan(readWhilePaused);
  });
});

describe('imports', () => {
  interface Upload {
    readonly outcome: Promise<Volume>;
    send(fields: Partial<ImportMessage>): void;
    end(): void;
    cancel(): void;
  }

  function upload(client: VolumesClient): Upload {
    let stream: ReturnType<VolumesClient['importImage']> | undefined;
    const outcome = new Promise<Volume>((resolve, reject) => {
      stream = client.importImage(metadata(), (error, volume) => (error === null ? resolve(volume) : reject(error)));
      stream.on('error', () => undefined);
    });
    outcome.catch(() => undefined);
    return {
      outcome,
      send: (fields) => void stream?.write(ImportMessage.fromPartial(fields)),
      end: () => void stream?.end(),
      cancel: () => stream?.cancel(),
    };
  }

  it('make a volume of what was sent', async () => {
    const client = volumesOf(await listen());
    const sending = upload(client);
    sending.send({ create: create({ name: 'image' }) });
    sending.send({ offsetBytes: 4096, data: Buffer.alloc(4096, 7) });
    sending.send({ offsetBytes: 8192, data: Buffer.alloc(1024 * 1024 - 8192) });
    sending.send({ complete: true });
    sending.end();
    expect(await sending.outcome).toMatchObject({ name: 'image', allocatedBytes: 4096 });
    const chunks: ImageChunk[] = [];
    const stream = client.exportImage({ volume: 'image' }, metadata());
    await new Promise((resolve, reject) =>
      stream
        .on('data', (chunk: ImageChunk) => chunks.push(chunk))
        .on('end', resolve)
        .on('error', reject),
    );
    expect(chunks[0]).toMatchObject({ sizeBytes: 1024 * 1024 });
    expect(chunks.slice(1).map((chunk) => [chunk.offsetBytes, chunk.data.length, chunk.data[0]])).toEqual([
      [4096, 4096, 7],
    ]);
  });

  it('that end too early leave nothing', async () => {
    const client = volumesOf(await listen());
    const sending = upload(client);
    sending.send({ create: create({ name: 'image' }) });
    sending.send({ data: Buffer.alloc(4096, 7) });
    sending.end();
    await expect(sending.outcome).rejects.toMatchObject({ code: status.CANCELLED });
    expect(world.host.store.size).toBe(0);
    await call(client.create.bind(client), create({ name: 'image' }));
  });

  it('that are cancelled, or whose client dies, leave nothing', async () => {
    const server = await listen();
    for (const how of ['cancel', 'die']) {
      const client = new VolumesClient(server.address, credentials.createInsecure(), {
        'grpc.use_local_subchannel_pool': 1,
      });
      const sending = upload(client);
      sending.send({ create: create({ name: 'image' }) });
      await comesTrue('the import opens its layer', () => world.host.handles.size > 0);
      const [handle] = world.host.handles.values();
      handle.hold = true;
      for (let at = 0; at < 256; at += 1) sending.send({ offsetBytes: at * 4096, data: Buffer.alloc(4096, 7) });
      await comesTrue('writes are under way', () => handle.requests.length >= 10);
      if (how === 'cancel') sending.cancel();
      else client.getChannel().close();
      if (how === 'die') sending.cancel();
      handle.hold = false;
      handle.release();
      await expect(sending.outcome).rejects.toMatchObject({ code: status.CANCELLED });
      await comesTrue('the import is undone', () => {
        handle.release();
        return world.host.store.size === 0;
      });
      client.close();
      expect(world.vault.files.size).toBe(0);
    }
    expect(plane.volumes.list({}, false)).toEqual([]);
  });

  it('are refused for the reasons of a creation, and for messages out of turn', async () => {
    const client = volumesOf(await listen());
    const nameless = upload(client);
    nameless.send({ data: Buffer.alloc(10, 1) });
    await expect(nameless.outcome).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    const wrong = upload(client);
    wrong.send({ create: create({ name: 'x', storageClass: 'gold' }) });
    await expect(wrong.outcome).rejects.toMatchObject({ code: status.NOT_FOUND });
    const twice = upload(client);
    twice.send({ create: create({ name: 'x' }) });
    twice.send({ create: create({ name: 'y' }) });
    await expect(twice.outcome).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    const long = upload(client);
    long.send({ create: create({ name: 'x', sizeBytes: 4096 }) });
    long.send({ offsetBytes: 4096, data: Buffer.alloc(10, 1) });
    await expect(long.outcome).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('larger than the volume'),
    });
    expect(world.host.store.size).toBe(0);
  });
});

describe('addresses and TLS', () => {
  it('refuses an address that others reach without TLS', async () => {
    for (const host of ['0.0.0.0', '::', '192.0.2.1']) {
      await expect(listen({ host })).rejects.toMatchObject({ code: 'UNPROTECTED' });
    }
  });

  it('says that a port is in use', async () => {
    const server = await listen();
    const port = Number(server.address.split(':')[1]);
    await expect(listen({ port })).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: expect.stringContaining(server.address),
    });
  });

  it('lets only clients with a certificate in, and takes new certificates without a restart', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'galleon-tls-'));
    closing.defer(() => {
      rmSync(folder, { recursive: true });
    });
    const [mine, theirs, next] = ['server', 'client', 'next'].map((name) => selfSigned(folder, name));
    const authority = theirs.certificate;
    const certificates = new ServerCertificates({ ...mine, authority });
    const server = await listen({}, certificates);
    const local = { 'grpc.use_local_subchannel_pool': 1 };
    const get = (how: ChannelCredentials): Promise<unknown> => {
      const client = own(new DaemonClient(server.address, how, local));
      return call(client.status.bind(client), {});
    };
    const withCertificate = (root: Buffer): ChannelCredentials =>
      credentials.createSsl(root, theirs.privateKey, theirs.certificate);
    expect(await get(withCertificate(mine.certificate))).toMatchObject({ state: 'ready' });
    await expect(get(credentials.createSsl(mine.certificate))).rejects.toMatchObject({ code: status.UNAVAILABLE });
    await expect(get(credentials.createInsecure())).rejects.toMatchObject({ code: status.UNAVAILABLE });
    certificates.replace({ ...next, authority });
    expect(await get(withCertificate(next.certificate))).toMatchObject({ state: 'ready' });
    expect(() => certificates.replace({ ...mine, privateKey: next.privateKey, authority })).toThrow(
      expect.objectContaining({ code: 'TLS_INVALID' }),
    );
    expect(await get(withCertificate(next.certificate))).toMatchObject({ state: 'ready' });
  });
});

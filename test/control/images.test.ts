import { describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, world } from './each-with-plane.js';
import { request, TESTER } from './fake-world.js';

const MIB = 1024 * 1024;
eachWithPlane();

/** Everything that an image export sends, laid over zeros. */
async function imageOf(name: string): Promise<Uint8Array> {
  const { sizeBytes, pieces } = plane.volumes.readImage(name, TESTER);
  const image = new Uint8Array(sizeBytes);
  for await (const { offsetBytes, data } of pieces) image.set(data, offsetBytes);
  return image;
}

function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => ((index * 31 + seed) % 255) + 1);
}

describe('an import', () => {
  it('comes out as it went in, and takes no space for zeros', async () => {
    const image = new Uint8Array(4 * MIB);
    image.set(pattern(10_000, 1), 5000);
    image.set(pattern(1, 2), 3 * MIB + 17);
    const session = await plane.volumes.beginImport(request('image', { sizeBytes: 4 * MIB }), TESTER);
    expect(() => plane.volumes.get('image', false)).toThrow('there is no volume');
    // Pieces that do not fall on block borders.
    for (let at = 0; at < image.length; at += 300_001) await session.write(at, image.slice(at, at + 300_001));
    const volume = await session.complete();
    expect(volume).toMatchObject({ name: 'image', state: 'available', allocatedBytes: 4 * 4096 });
    expect(Buffer.compare(await imageOf('image'), image)).toBe(0);
    expect(plane.events.recent(0, 'image').map((event) => event.kind)).toEqual(['volume.created', 'image.exported']);
  });

  it('syncs before the volume appears', async () => {
    const session = await plane.volumes.beginImport(request('image'), TESTER);
    const [handle] = world.host.handles.values();
    handle.hold = true;
    const completed = session.complete();
    await settle();
    expect(handle.requests.map((one) => one.operation)).toEqual([Operation.FLUSH]);
    expect(plane.volumes.list({}, false)).toEqual([]);
    handle.release();
    expect((await completed).name).toBe('image');
  });

  it('holds its sender back when too much is under way', async () => {
    const session = await plane.volumes.beginImport(request('image', { sizeBytes: 64 * MIB }), TESTER);
    const [handle] = world.host.handles.values();
    handle.hold = true;
    let taken = 0;
    const sending = (async () => {
      for (let at = 0; at < 20 * MIB; at += MIB) {
        await session.write(at, pattern(MIB, at));
        taken += 1;
      }
    })();
    await settle();
    expect(taken).toBe(8);
    handle.hold = false;
    handle.release();
    await sending;
    expect(taken).toBe(20);
    await session.abort();
  });

  it.each(['before anything', 'with writes under way'])('that is aborted %s leaves nothing', async (when) => {
    const session = await plane.volumes.beginImport(request('image', { sizeBytes: 64 * MIB }), TESTER);
    const [handle] = world.host.handles.values();
    let writing: Promise<unknown> = Promise.resolve();
    if (when !== 'before anything') {
      handle.hold = true;
      for (let at = 0; at < 8 * MIB; at += MIB) await session.write(at, pattern(MIB, at));
      writing = session.write(8 * MIB, pattern(MIB, 8));
      const aborted = session.abort();
      handle.hold = false;
      handle.release();
      await aborted;
    } else {
      await session.abort();
    }
    await writing;
    expect(world.host.store.size).toBe(0);
    expect(world.vault.files.size).toBe(0);
    expect(plane.volumes.list({}, false)).toEqual([]);
    await expect(session.write(9 * MIB, new Uint8Array(1))).rejects.toMatchObject({ code: 'CANCELLED' });
    await expect(session.complete()).rejects.toMatchObject({ code: 'CANCELLED' });
    await plane.volumes.create(request('image'), TESTER); // the name is free
  });

  it('fails with what the device says, and leaves nothing', async () => {
    const session = await plane.volumes.beginImport(request('image'), TESTER);
    const [handle] = world.host.handles.values();
    handle.failWrites = 'the disk is gone';
    await expect(session.write(0, pattern(4096, 1))).rejects.toThrow('the disk is gone');
    await session.abort();
    expect(world.host.store.size).toBe(0);
  });

  it('refuses ranges past the end, out of order or too long', async () => {
    const session = await plane.volumes.beginImport(request('image', { sizeBytes: 4 * MIB }), TESTER);
    await expect(session.write(4 * MIB - 10, new Uint8Array(11))).rejects.toMatchObject({ code: 'INVALID' });
    await expect(session.write(0, new Uint8Array(MIB + 1))).rejects.toMatchObject({ code: 'INVALID' });
    await session.write(4096, new Uint8Array(4096));
    await expect(session.write(8191, new Uint8Array(1))).rejects.toMatchObject({ code: 'INVALID' });
    await expect(session.write(NaN, new Uint8Array(1))).rejects.toMatchObject({ code: 'INVALID' });
    await session.abort();
  });

  it('holds its name', async () => {
    const session = await plane.volumes.beginImport(request('image'), TESTER);
    await expect(plane.volumes.create(request('image'), TESTER)).rejects.toMatchObject({ code: 'EXISTS' });
    await session.abort();
  });

  it('is one of at most sixteen transfers', async () => {
    const sessions = [];
    for (let index = 0; index < 16; index += 1)
      sessions.push(await plane.volumes.beginImport(request(`i${index}`), TESTER));
    await expect(plane.volumes.beginImport(request('more'), TESTER)).rejects.toMatchObject({
      fault: { reason: 'busy' },
    });
    for (const session of sessions) await session.abort();
    await (await plane.volumes.beginImport(request('more'), TESTER)).abort();
  });
});

describe('an image export', () => {
  it('is refused while clients write', async () => {
    const { id } = await plane.volumes.create(request('web'), TESTER);
    await plane.volumes.export('web', false, TESTER);
    world.exports.connect(id, 'unix:1');
    expect(() => plane.volumes.readImage('web', TESTER)).toThrow('read-only');
  });

  it('reads only a few pieces ahead of a slow consumer', async () => {
    const session = await plane.volumes.beginImport(request('image', { sizeBytes: 32 * MIB }), TESTER);
    for (let at = 0; at < 32 * MIB; at += MIB) await session.write(at, pattern(MIB, at));
    await session.complete();
    const [handle] = world.host.handles.values();
    let reads = 0;
    const submit = handle.submit.bind(handle);
    handle.submit = (one) => {
      if (one.operation === Operation.READ) reads += 1;
      submit(one);
    };
    const { pieces } = plane.volumes.readImage('image', TESTER);
    await pieces.next();
    await settle();
    expect(reads).toBe(4);
    await pieces.return();
  });

  it('ends with an error instead of a hole when a block cannot be read', async () => {
    const session = await plane.volumes.beginImport(request('image'), TESTER);
    await session.write(0, pattern(4096, 1));
    await session.complete();
    const [handle] = world.host.handles.values();
    handle.submit = (one) => one.done({ code: 'IO', detail: 'block 0 failed authentication' });
    await expect(imageOf('image')).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('failed authentication'),
    });
  });
});

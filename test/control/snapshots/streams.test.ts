import { describe, expect, it } from 'vitest';
import { type StreamItem, StreamDecoder } from '../../../src/backup/stream-decoder.js';
import { StreamEncoder } from '../../../src/backup/stream-encoder.js';
import type { StreamBegin } from '../../../src/backup/stream-format.js';
import { crc32c } from '../../../src/base/crc32c.js';
import { eachWithPlane, plane, restart, world } from '../each-with-plane.js';
import { request, TESTER } from '../fake-world.js';
import { readBlocks, writeBlock } from './blocks.js';

eachWithPlane();

const create = (name: string): Promise<unknown> => plane.volumes.create(request(name), TESTER);
const snap = (volume: string, name: string): Promise<unknown> =>
  plane.snapshots.create([volume], { name, labels: {} }, TESTER);
const write = (volume: string, index: number, value: number): Promise<void> =>
  writeBlock(world, plane, volume, index, value);
const read = (volume: string): Promise<number[]> => readBlocks(world, plane, volume);

async function send(snapshot: string, from = '', decrypt = true): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of plane.sender.send({ snapshot, from, decrypt }, TESTER)) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function receive(name: string, bytes: Buffer, pieceBytes = 10_000): Promise<void> {
  const receiver = plane.receive(request(name), null, TESTER);
  try {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await receiver.write(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    }
  } catch (thrown) {
    await receiver.abort();
    throw thrown;
  }
  await receiver.complete();
}

async function twoStates(): Promise<{ whole: Buffer; difference: Buffer }> {
  await create('web');
  await write('web', 0, 1);
  await write('web', 2, 2);
  await snap('web', 'a');
  await write('web', 1, 3);
  await write('web', 2, 0);
  await plane.volumes.expand('web', 2 * 1024 * 1024, false, TESTER);
  await snap('web', 'b');
  await write('web', 0, 9);
  return { whole: await send('web@a'), difference: await send('web@b', 'web@a') };
}

describe('a stream', () => {
  it('carries a snapshot into a fresh volume, and a difference on top of it', async () => {
    const { whole, difference } = await twoStates();
    await receive('copy', whole);
    expect(await read('copy')).toEqual([1, 0, 2, 0]);
    expect((await plane.snapshots.get('copy@a')).createdAtMs).toBe((await plane.snapshots.get('web@a')).createdAtMs);
    await receive('copy', difference);
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
    expect(plane.volumes.get('copy', false)).toMatchObject({ sizeBytes: 2 * 1024 * 1024, snapshots: 2 });
    await write('copy', 3, 5);
    await restart();
    expect(await read('copy')).toEqual([1, 3, 0, 5]);
    expect(world.host.store.size).toBe(6);
  });

  it('of a copy goes on from there: the snapshot is the same everywhere', async () => {
    const { whole, difference } = await twoStates();
    await receive('copy', whole);
    await receive('third', await send('copy@a'));
    await receive('third', difference);
    expect(await read('third')).toEqual([1, 3, 0, 0]);
  });

  it('of a volume without encryption is plain, whatever is said', async () => {
    await plane.volumes.create(request('open', { storageClass: 'fast-local-ssd' }), TESTER);
    await snap('open', 'a');
    expect(beginOf(await send('open@a', '', false)).mode).toBe('plain');
  });

  it('that is cut or damaged leaves nothing', async () => {
    const { whole, difference } = await twoStates();
    await expect(receive('copy', whole.subarray(0, whole.length - 1))).rejects.toThrow(
      /cut after .* nothing of it was kept/,
    );
    const damaged = Buffer.from(whole);
    damaged[300] ^= 1;
    await expect(receive('copy', damaged)).rejects.toMatchObject({ code: 'DAMAGED' });
    await expect(receive('copy', Buffer.from('not a stream, whatever it says'))).rejects.toMatchObject({
      code: 'INVALID',
    });
    expect(plane.volumes.list({}, false).map(({ name }) => name)).toEqual(['web']);
    expect(world.host.store.size).toBe(3);
    await receive('copy', whole);
    await expect(receive('copy', difference.subarray(0, 1000))).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(await read('copy')).toEqual([1, 0, 2, 0]);
    expect(world.host.store.size).toBe(5);
    expect((await world.meta.list('control/making/')).entries).toEqual([]);
    expect(world.vault.files.size).toBe(2);
  });

  it('that its sender abandons leaves nothing', async () => {
    const { whole } = await twoStates();
    const receiver = plane.receive(request('copy'), null, TESTER);
    await receiver.write(whole.subarray(0, 2_000));
    await receiver.abort();
    await expect(receiver.complete()).rejects.toMatchObject({ code: 'CANCELLED' });
    expect(world.host.store.size).toBe(3);
  });

  it('is not taken onto anything but the state that it begins with', async () => {
    const { whole, difference } = await twoStates();
    await create('empty');
    await expect(receive('empty', difference)).rejects.toThrow('volume empty has no snapshot');
    await receive('copy', whole);
    await write('copy', 3, 4);
    await expect(receive('copy', difference)).rejects.toThrow('volume copy was written since copy@a');
    await snap('copy', 'own');
    await expect(receive('copy', difference)).rejects.toThrow('`gfs volume revert copy@a` puts it back');
    await plane.volumes.revert('copy@a', false, TESTER);
    await receive('copy', difference);
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
    await expect(receive('web', whole)).rejects.toMatchObject({ code: 'EXISTS' });
    await expect(receive('copy', difference)).rejects.toThrow('volume copy stands on copy@b');
  });

  it('is not taken when the volume was written while it came', async () => {
    const { whole, difference } = await twoStates();
    await receive('copy', whole);
    const receiver = plane.receive(request('copy'), null, TESTER);
    await receiver.write(difference);
    await write('copy', 3, 4);
    await expect(receiver.complete()).rejects.toThrow('was written since copy@a');
    expect(await read('copy')).toEqual([1, 0, 2, 4]);
    expect(world.host.store.size).toBe(5);
  });

  // The layers that the volume had by then were dropped with what was taken for unfinished.
  it('is kept when the volume cannot be opened behind it, and is served once it can', async () => {
    const { whole, difference } = await twoStates();
    await receive('copy', whole);
    const receiver = plane.receive(request('copy'), null, TESTER);
    await receiver.write(difference);
    await plane.encryption.rotate('copy', TESTER);
    const { id } = plane.volumes.get('copy', false);
    const head = [...world.host.handles.values()].find(({ volumeId }) => volumeId === id)!;
    const close = head.close.bind(head);
    head.close = async () => {
      await close();
      world.meta.trouble = new Error('the disk is away');
    };
    await receiver.complete();
    expect(plane.volumes.get('copy', false)).toMatchObject({ state: 'damaged', snapshots: 2 });
    world.meta.trouble = null;
    await world.advance(60_000);
    expect(plane.volumes.get('copy', false).state).toBe('available');
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
  });

  it('ends without its end mark when its snapshot is deleted under it', async () => {
    await create('web');
    for (let index = 0; index < 200; index += 2) await write('web', index, 1);
    await snap('web', 'a');
    const stream = plane.sender.send({ snapshot: 'web@a', from: '', decrypt: true }, TESTER);
    await stream.next();
    await plane.snapshots.delete('web@a', true, TESTER);
    const drain = async (): Promise<void> => {
      for await (const piece of stream) expect(piece.length).toBeGreaterThan(0);
    };
    await expect(drain()).rejects.toThrow();
  });
});

function itemsOf(bytes: Buffer): StreamItem[] {
  const decoder = new StreamDecoder(checksum);
  return [...decoder.push(Buffer.from(bytes))];
}

function beginOf(bytes: Buffer): StreamBegin {
  const [first] = itemsOf(bytes);
  if (first?.kind !== 'begin') throw new Error('a stream begins');
  return first.begin;
}

const checksum = (bytes: Uint8Array, offset: number, length: number, seed: number): number =>
  crc32c(bytes.subarray(offset, offset + length), seed);

const sealed = (snapshot: string, from = ''): Promise<Buffer> => send(snapshot, from, false);

function keysOf(name: string): readonly number[] {
  const { id } = plane.volumes.get(name, false);
  return [...world.host.handles.values()].find((one) => one.volumeId === id && !one.readOnly)!.keyNumbers;
}

async function twoSealed(): Promise<{ whole: Buffer; difference: Buffer }> {
  await twoStates();
  return { whole: await sealed('web@a'), difference: await sealed('web@b', 'web@a') };
}

async function expectNothingLeft(layers: number, keys: number): Promise<void> {
  expect(world.host.store.size).toBe(layers);
  expect(world.vault.files.size).toBe(keys);
  expect((await world.meta.list('control/making/')).entries).toEqual([]);
}

describe('a sealed stream', () => {
  it('carries a volume and a difference with the keys of its blocks, and new writes have another', async () => {
    const { whole, difference } = await twoSealed();
    expect(beginOf(whole)).toMatchObject({ mode: 'sealed', encrypted: true, keys: [{ number: 1 }] });
    expect(whole.includes(Buffer.alloc(64, 1))).toBe(false);
    await receive('copy', whole);
    expect(await read('copy')).toEqual([1, 0, 2, 0]);
    expect(keysOf('copy')).toEqual([2, 3]);
    await receive('copy', difference);
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
    // The key of the difference was there already.
    expect(keysOf('copy')).toEqual([2, 3]);
    await restart();
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
    await expectNothingLeft(6, 3);
  });

  it('may be received twice, and what is deleted takes its keys along', async () => {
    const { whole } = await twoSealed();
    await receive('copy', whole);
    await receive('other', whole);
    expect([keysOf('copy'), keysOf('other')]).toEqual([
      [2, 3],
      [4, 5],
    ]);
    await plane.snapshots.delete('copy@a', false, TESTER);
    await plane.volumes.delete('copy', true, TESTER);
    expect([...world.vault.files.keys()].sort()).toEqual([1, 4, 5]);
    expect(await read('other')).toEqual([1, 0, 2, 0]);
  });

  it('of a volume whose data key was changed brings the keys that the volume lacks', async () => {
    const { whole } = await twoSealed();
    await receive('copy', whole);
    await plane.encryption.rotate('web', TESTER);
    await write('web', 3, 7);
    await snap('web', 'c');
    const difference = await sealed('web@c', 'web@a');
    await receive('copy', difference);
    expect(await read('copy')).toEqual([9, 3, 0, 7]);
    expect(keysOf('copy')).toHaveLength(3);
    expect(keysOf('copy').at(-1)).toBe(3);
  });

  it('needs the master key that it was wrapped under, and says so', async () => {
    const { whole, difference } = await twoSealed();
    await receive('copy', whole);
    world.vault.opensForeign = false;
    await expect(receive('third', whole)).rejects.toThrow(
      /needs data key 1, wrapped under the master key 0+1 of node .* give --recovery-file/,
    );
    await expectNothingLeft(5, 3);
    world.vault.opensForeign = true;
    await receive('third', whole);
    world.vault.opensForeign = false;
    await expect(receive('third', difference)).rejects.toMatchObject({ code: 'REFUSED', fault: { reason: 'locked' } });
    await expectNothingLeft(7, 5);
  });

  it('is taken by volumes with encryption alone', async () => {
    const { whole } = await twoSealed();
    const receiver = plane.receive(request('open', { storageClass: 'fast-local-ssd' }), null, TESTER);
    await expect(receiver.write(whole)).rejects.toThrow('storage class fast-local-ssd is without encryption');
    await receiver.abort();
    await expectNothingLeft(3, 1);
  });

  it('is not made of blocks with and without encryption', async () => {
    await plane.volumes.create(request('open', { storageClass: 'fast-local-ssd' }), TESTER);
    await plane.encryption.encrypt('open', TESTER);
    await snap('open', 'a');
    await expect(sealed('open@a')).rejects.toThrow('has blocks with and without encryption');
    expect(beginOf(await send('open@a')).mode).toBe('plain');
  });

  it('that is cut, damaged or changed leaves nothing', async () => {
    const { whole, difference } = await twoSealed();
    await receive('copy', whole);
    await expect(receive('third', whole.subarray(0, whole.length - 1))).rejects.toThrow(/cut after/);
    const damaged = Buffer.from(whole);
    damaged[damaged.length - 300] ^= 1;
    await expect(receive('third', damaged)).rejects.toMatchObject({ code: 'DAMAGED' });
    for (const [name, bytes] of [
      ['third', whole],
      ['copy', difference],
    ] as const) {
      for (const forge of [lacksRange, hasZeros, movesBlock, changesBlock, changesKey]) {
        await expect(receive(name, forge(bytes)), forge.name).rejects.toMatchObject({ code: 'DAMAGED' });
      }
    }
    expect(await read('copy')).toEqual([1, 0, 2, 0]);
    await expectNothingLeft(5, 3);
    await receive('copy', difference);
    expect(await read('copy')).toEqual([1, 3, 0, 0]);
  });
});

type Change = (item: StreamItem) => StreamItem | null;

/** The stream with its frames changed and every checksum made right again; its proof stays as it was. */
function forged(bytes: Buffer, change: Change): Buffer {
  const encoder = new StreamEncoder(checksum);
  const pieces: Buffer[] = [];
  for (const item of itemsOf(bytes).map(change)) {
    if (item === null) continue;
    if (item.kind === 'begin') pieces.push(encoder.begin(item.begin));
    else if (item.kind === 'zero') pieces.push(encoder.zero(item.offsetBytes, item.lengthBytes));
    else if (item.kind === 'sealed') pieces.push(encoder.sealed(item.offsetBytes, item.lengthBytes, item.data));
    else if (item.kind === 'end') pieces.push(encoder.end(() => item.proof?.mac ?? ''));
  }
  return Buffer.concat(pieces);
}

const onSealed = (bytes: Buffer, change: (item: StreamItem & { kind: 'sealed' }) => StreamItem | null): Buffer =>
  forged(bytes, (item) => (item.kind === 'sealed' ? change(item) : item));

const lacksRange = (bytes: Buffer): Buffer => onSealed(bytes, () => null);
const hasZeros = (bytes: Buffer): Buffer =>
  onSealed(bytes, ({ offsetBytes, lengthBytes }) => ({ kind: 'zero', offsetBytes, lengthBytes }));
const movesBlock = (bytes: Buffer): Buffer =>
  forged(bytes, (item) =>
    item.kind === 'sealed' || item.kind === 'zero' ? { ...item, offsetBytes: item.offsetBytes + 512 * 1024 } : item,
  );
const changesBlock = (bytes: Buffer): Buffer => onSealed(bytes, (item) => ({ ...item, data: flipped(item.data, 100) }));
/** The checksum of the block's header would be wrong as well. */
const changesKey = (bytes: Buffer): Buffer => onSealed(bytes, (item) => ({ ...item, data: flipped(item.data, 44) }));

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const changed = bytes.slice();
  changed[at] ^= 1;
  return changed;
}

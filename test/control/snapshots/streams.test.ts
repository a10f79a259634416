import { describe, expect, it } from 'vitest';
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
  const receiver = plane.receive(request(name), TESTER);
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

  it('of an encrypted volume leaves in the clear only when that is said', async () => {
    await create('web');
    await snap('web', 'a');
    await expect(send('web@a', '', false)).rejects.toThrow('with --decrypt they are sent in the clear');
    await plane.volumes.create(request('open', { storageClass: 'fast-local-ssd' }), TESTER);
    await snap('open', 'a');
    expect((await send('open@a', '', false)).length).toBeGreaterThan(0);
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
    const receiver = plane.receive(request('copy'), TESTER);
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
    const receiver = plane.receive(request('copy'), TESTER);
    await receiver.write(difference);
    await write('copy', 3, 4);
    await expect(receiver.complete()).rejects.toThrow('was written since copy@a');
    expect(await read('copy')).toEqual([1, 0, 2, 4]);
    expect(world.host.store.size).toBe(5);
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

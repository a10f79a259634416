import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../src/device/device-error.js';
import type { ResealOptions, ResealOutcome } from '../../src/volume/volume-host.js';
import { settle } from '../base/waiting.js';
import { eachWithPlane, plane, restart, world } from './each-with-plane.js';
import { type FakeHandle, resealed } from './fake-host.js';
import { request, TESTER } from './fake-world.js';

const PLAIN = { storageClass: 'fast-local-ssd' };
const idOf = (name: string): string => plane.volumes.get(name, true).id;

function handlesOf(name: string): FakeHandle[] {
  return [...world.host.handles.values()].filter(({ volumeId }) => volumeId === idOf(name));
}

function handleOf(name: string): FakeHandle {
  const handle = handlesOf(name).find(({ readOnly }) => !readOnly);
  if (handle === undefined) throw new Error(`${name} is not open`);
  return handle;
}

/** What runs of a volume were asked for, and what they answer. */
function answer(name: string, outcome: (options: ResealOptions) => Promise<ResealOutcome>): ResealOptions[] {
  const asked: ResealOptions[] = [];
  handleOf(name).resealWith = (options) => {
    asked.push(options);
    return outcome(options);
  };
  return asked;
}

const proven = ({ numbers }: ResealOptions): Promise<ResealOutcome> => Promise.resolve(resealed({ gone: numbers }));
const stateOf = (name: string): unknown => plane.resealing.viewOf(idOf(name));

describe('re-sealing', () => {
  eachWithPlane();

  it('begins with a change of keys, shows how far it is, and ends with the old key destroyed', async () => {
    await plane.volumes.create(request('web'), TESTER);
    let finish: (outcome: ResealOutcome) => void = () => undefined;
    const asked = answer('web', ({ told }) => {
      told({ lookedBytes: 10, totalBytes: 40, sealedBlocks: 2, badBlocks: 0 });
      return new Promise((resolve) => {
        finish = resolve;
      });
    });
    expect(stateOf('web')).toBe(null);
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(asked).toMatchObject([{ numbers: [1], under: 2 }]);
    expect(asked[0].own()).toEqual([1]);
    expect(stateOf('web')).toMatchObject({ state: 'running', lookedBytes: 10, totalBytes: 40, sealedBlocks: 2 });
    expect((await plane.masterKeys.status()).volumes[0].resealing).toMatchObject({ state: 'running' });
    finish(resealed({ gone: [1] }));
    await settle();
    expect(stateOf('web')).toBe(null);
    expect([...world.vault.files.keys()]).toEqual([2]);
    expect(handleOf('web').keyNumbers).toEqual([2]);
    expect(plane.problems()).toEqual([]);
  });

  it('lets snapshots open what is sealed anew before it is, those that are open too, and forgets the old key there last', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.snapshots.create(['web'], { name: 'then', labels: {} }, TESTER);
    await plane.snapshots.export('web@then', TESTER);
    const snapshot = handlesOf('web').find(({ readOnly }) => readOnly);
    let before: readonly number[] | undefined;
    answer('web', (options) => {
      before = snapshot?.keyNumbers;
      expect(options.own()).toHaveLength(2);
      return proven(options);
    });
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(before).toEqual([1, 2]);
    expect(snapshot?.keyNumbers).toEqual([2]);
    expect([...world.vault.files.keys()]).toEqual([2]);
    await restart();
    expect(handlesOf('web').map(({ keyNumbers }) => keyNumbers)).toEqual([[2], [2]]);
  });

  it('turns the snapshots of a volume with it when encryption is turned on and off', async () => {
    await plane.volumes.create(request('bare', PLAIN), TESTER);
    await plane.snapshots.create(['bare'], { name: 'then', labels: {} }, TESTER);
    await plane.snapshots.export('bare@then', TESTER);
    const snapshot = handlesOf('bare').find(({ readOnly }) => readOnly);
    answer('bare', proven);
    await plane.encryption.encrypt('bare', TESTER);
    await settle();
    expect(snapshot).toMatchObject({ keyNumbers: [1], plain: 'refused' });
    expect(handleOf('bare')).toMatchObject({ keyNumbers: [1], plain: 'refused' });
    await plane.encryption.decrypt('bare', TESTER);
    await settle();
    expect(snapshot).toMatchObject({ keyNumbers: [], plain: 'written' });
    expect([...world.vault.files.keys()]).toEqual([]);
    await restart();
    expect(handlesOf('bare').map(({ keyNumbers }) => keyNumbers)).toEqual([[], []]);
    expect(plane.problems()).toEqual([]);
  });

  it('says with whom blocks are shared, keeps their key, and goes on once they are not', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.snapshots.create(['web'], { name: 'then', labels: {} }, TESTER);
    await plane.volumes.clone('web@then', { name: 'copy', sizeBytes: 0, labels: {} }, TESTER);
    // Proven or not: somebody may write under what he was given.
    const asked = answer('web', proven);
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(asked).toHaveLength(1);
    expect([...world.vault.files.keys()]).toContain(1);
    await world.advance(60_000);
    expect(stateOf('web')).toMatchObject({ state: 'shared', reason: 'shared with clone copy' });
    expect(asked).toHaveLength(1);
    expect(plane.problems()).toEqual([]);
    await plane.volumes.delete('copy', true, TESTER);
    if (plane.volumes.list({}, true).some(({ state }) => state === 'retained'))
      await plane.volumes.purge('copy', TESTER);
    await world.advance(60_000);
    expect(asked).toHaveLength(2);
    expect(stateOf('web')).toBe(null);
    expect([...world.vault.files.keys()]).toEqual([3]);
  });

  it('is tried again when it fails, with its reason', async () => {
    await plane.volumes.create(request('web'), TESTER);
    const asked = answer('web', (options) =>
      asked.length < 3 ? Promise.reject(new Error('the disk is full')) : proven(options),
    );
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(plane.problems()).toMatchObject([{ subject: 'volume web', lastError: 'the disk is full' }]);
    expect(plane.problems()[0].nextTryMs).toBeGreaterThan(0);
    await world.advance(1_000);
    expect(asked).toHaveLength(2);
    await world.advance(2_000);
    expect(asked).toHaveLength(3);
    expect(plane.problems()).toEqual([]);
    expect([...world.vault.files.keys()]).toEqual([2]);
  });

  it('says that blocks cannot be opened, and looks again much later', async () => {
    await plane.volumes.create(request('web'), TESTER);
    const asked = answer('web', () => Promise.resolve(resealed({ badBlocks: 3 })));
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(plane.problems()).toMatchObject([{ reason: expect.stringMatching(/3 blocks cannot be opened/) as string }]);
    await world.advance(600_000);
    expect(asked).toHaveLength(1);
    await world.advance(3_600_000);
    expect(asked).toHaveLength(2);
    expect([...world.vault.files.keys()]).toEqual([1, 2]);
  });

  it('goes by what was proven under the key that still seals, and begins anew with another', async () => {
    await plane.volumes.create(request('web'), TESTER);
    let finish: (outcome: ResealOutcome) => void = () => undefined;
    const asked = answer('web', (options) =>
      asked.length > 1
        ? proven(options)
        : new Promise((resolve) => {
            finish = resolve;
          }),
    );
    await plane.encryption.rotate('web', TESTER);
    await settle();
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(asked).toHaveLength(1);
    finish(resealed({ gone: [1] }));
    await settle();
    expect(asked.map(({ numbers, under }) => ({ numbers, under }))).toEqual([
      { numbers: [1], under: 2 },
      { numbers: [1, 2], under: 3 },
    ]);
    expect([...world.vault.files.keys()]).toEqual([3]);
  });

  it('waits for a volume that is closed, and begins anew after a restart', async () => {
    await plane.volumes.create(request('web'), TESTER);
    answer('web', () => Promise.reject(new DeviceError('the volume is closed', { code: 'CLOSED' })));
    await plane.encryption.rotate('web', TESTER);
    await settle();
    expect(stateOf('web')).toMatchObject({ state: 'waiting' });
    expect(plane.problems()).toEqual([]);
    await plane.close();
    world.host.opened = (handle) => {
      handle.resealWith = proven;
    };
    await restart();
    await settle();
    expect([...world.vault.files.keys()]).toEqual([2]);
  });
});

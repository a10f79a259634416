import { describe, expect, it } from 'vitest';
import type { ControlPlane } from '../../src/control/control-plane.js';
import { CryptoError } from '../../src/crypto/crypto-error.js';
import { eachWithPlane, plane, restart, world } from './each-with-plane.js';
import type { FakeHandle } from './fake-host.js';
import { FakeWorld, request, TESTER } from './fake-world.js';

const PLAIN = { storageClass: 'fast-local-ssd' };

function handleOf(name: string, of: FakeWorld = world): FakeHandle {
  const handle = [...of.host.handles.values()].find(({ volumeId }) => volumeId === idOf(name));
  if (handle === undefined) throw new Error(`${name} is not open`);
  return handle;
}

const idOf = (name: string): string => plane.volumes.get(name, true).id;

const metaKeys = async (): Promise<number[]> =>
  (await world.meta.list('control/data-key/')).entries
    .map(({ key }) => Number(key.split('/')[2]))
    .sort((a, b) => a - b);

describe('a new data key', () => {
  eachWithPlane();

  it('seals new writes at once, and the old one is kept in both places', async () => {
    await plane.volumes.create(request('web'), TESTER);
    expect(await plane.encryption.rotate('web', TESTER)).toMatchObject({ name: 'web', keyNumber: 2, retired: [1] });
    expect(handleOf('web')).toMatchObject({ keyNumbers: [1, 2], plain: 'refused' });
    expect(plane.volumes.get('web', false).dataKeyNumber).toBe(2);
    expect([...world.vault.files.keys()]).toEqual([1, 2]);
    expect(await metaKeys()).toEqual([1, 2]);
    await restart();
    expect(handleOf('web')).toMatchObject({ keyNumbers: [1, 2], plain: 'refused' });
    expect(plane.encryption.retired()).toEqual([{ volumeId: idOf('web'), layer: 1, numbers: [1] }]);
  });

  it('is refused for a volume that is not encrypted, or not open', async () => {
    await plane.volumes.create(request('bare', PLAIN), TESTER);
    await expect(plane.encryption.rotate('bare', TESTER)).rejects.toThrow(/gfs volume encrypt bare/);
    await plane.volumes.create(request('web'), TESTER);
    await plane.close();
    world.vault.trouble = new CryptoError('another key', { code: 'WRONG_KEY', provider: 'file', keyNumber: 1 });
    await restart();
    await expect(plane.encryption.rotate('web', TESTER)).rejects.toMatchObject({ fault: { reason: 'locked' } });
    expect([...world.vault.files.keys()]).toEqual([1]);
  });

  it('that cannot be put into the row is erased again, and the old one stays', async () => {
    await plane.volumes.create(request('web'), TESTER);
    const handle = handleOf('web');
    handle.rekey = () => Promise.reject(new Error('no room'));
    await expect(plane.encryption.rotate('web', TESTER)).rejects.toThrow('no room');
    expect([...world.vault.files.keys()]).toEqual([1]);
    expect(await metaKeys()).toEqual([1]);
    expect(plane.encryption.retired()).toEqual([]);
  });

  it('does not call a key retired while writes under it may be under way', async () => {
    await plane.volumes.create(request('web'), TESTER);
    const handle = handleOf('web');
    let finish: () => void = () => undefined;
    handle.rekey = async (_, decided) => {
      await decided();
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
    };
    const rotation = plane.encryption.rotate('web', TESTER);
    await world.advance(0);
    expect(plane.volumes.get('web', false).dataKeyNumber).toBe(2);
    expect(plane.encryption.retired()).toEqual([]);
    finish();
    await rotation;
    expect(plane.encryption.retired()).toMatchObject([{ numbers: [1] }]);
  });
});

describe('a retired key', () => {
  eachWithPlane();

  it('is erased in both places when no block names it, and the volume forgets it', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.encryption.rotate('web', TESTER);
    await plane.encryption.unneeded(idOf('web'), 1, 2);
    expect(handleOf('web').keyNumbers).toEqual([2]);
    expect([...world.vault.files.keys()]).toEqual([2]);
    expect(await metaKeys()).toEqual([2]);
    expect(plane.encryption.retired()).toEqual([]);
    await plane.encryption.unneeded(idOf('web'), 1, 2);
    await restart();
    expect(handleOf('web').keyNumbers).toEqual([2]);
  });

  it('is never the one that seals new writes', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await expect(plane.encryption.unneeded(idOf('web'), 1, 1)).rejects.toMatchObject({ code: 'REFUSED' });
    expect([...world.vault.files.keys()]).toEqual([1]);
  });

  it('stays as long as another volume needs it', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.encryption.rotate('web', TESTER);
    await plane.volumes.create(request('clone'), TESTER);
    // As a clone will: it reads blocks of the other through layers that both have.
    await plane.close();
    const clone = (await world.meta.list('control/volume/')).entries.find(({ key }) => key.endsWith(idOf('clone')));
    const row = JSON.parse(new TextDecoder().decode(clone?.value)) as { dataKeyNumbers: number[] };
    row.dataKeyNumbers = [1, 3];
    await world.meta.transaction({
      set: [{ key: clone?.key ?? '', value: new TextEncoder().encode(JSON.stringify(row)) }],
    });
    await restart();
    await plane.encryption.unneeded(idOf('web'), 1, 2);
    expect(handleOf('web').keyNumbers).toEqual([2]);
    expect([...world.vault.files.keys()]).toEqual([1, 2, 3]);
    const removal = await plane.volumes.delete('clone', true, TESTER);
    expect(removal.detail).toMatch(/data keys were destroyed first/);
    expect([...world.vault.files.keys()]).toEqual([2]);
  });

  it('whose erasure fails is erased later', async () => {
    await plane.volumes.create(request('web'), TESTER);
    await plane.encryption.rotate('web', TESTER);
    const { scrub } = world.meta;
    world.meta.scrub = () => Promise.reject(new Error('the disk is full'));
    await plane.encryption.unneeded(idOf('web'), 1, 2);
    expect([...world.vault.files.keys()]).toEqual([1, 2]);
    world.meta.scrub = scrub;
    await world.advance(1_000);
    expect([...world.vault.files.keys()]).toEqual([2]);
  });
});

describe('encryption that is turned on and off', () => {
  eachWithPlane();

  it('keeps plain blocks readable until there are none', async () => {
    await plane.volumes.create(request('bare', PLAIN), TESTER);
    expect(handleOf('bare').keyNumbers).toEqual([]);
    expect(await plane.encryption.encrypt('bare', TESTER)).toMatchObject({ keyNumber: 1, retired: [0] });
    expect(handleOf('bare')).toMatchObject({ keyNumbers: [1], plain: 'read' });
    await restart();
    expect(handleOf('bare')).toMatchObject({ keyNumbers: [1], plain: 'read' });
    expect(plane.volumes.get('bare', false)).toMatchObject({ encrypted: true, dataKeyNumber: 1 });
    expect(plane.encryption.retired()).toMatchObject([{ numbers: [0] }]);
    await plane.encryption.unneeded(idOf('bare'), 0, 1);
    expect(handleOf('bare')).toMatchObject({ keyNumbers: [1], plain: 'refused' });
    expect(plane.encryption.retired()).toEqual([]);
    await expect(plane.encryption.encrypt('bare', TESTER)).rejects.toThrow(/encrypted already/);
  });

  it('keeps the keys of encrypted blocks until there are none', async () => {
    await plane.volumes.create(request('web'), TESTER);
    expect(await plane.encryption.decrypt('web', TESTER)).toMatchObject({ keyNumber: 0, retired: [1] });
    expect(handleOf('web')).toMatchObject({ keyNumbers: [1], plain: 'written' });
    await restart();
    expect(handleOf('web')).toMatchObject({ keyNumbers: [1], plain: 'written' });
    expect(plane.volumes.get('web', false)).toMatchObject({ encrypted: false, dataKeyNumber: 0 });
    await expect(plane.encryption.decrypt('web', TESTER)).rejects.toThrow(/is not encrypted/);
    // On again: with a new key, never with one that was retired.
    expect(await plane.encryption.encrypt('web', TESTER)).toMatchObject({ keyNumber: 2, retired: [0, 1] });
    await plane.encryption.unneeded(idOf('web'), 1, 2);
    expect(handleOf('web')).toMatchObject({ keyNumbers: [2], plain: 'read' });
  });
});

describe('deleting a volume', () => {
  eachWithPlane();

  it('destroys its keys before its data, and its data even if that fails', async () => {
    await plane.volumes.create(request('web'), TESTER);
    world.crash.arm(-1, true);
    await plane.volumes.delete('web', true, TESTER);
    const steps = world.crash.steps.filter((step) => step !== 'meta');
    expect(steps).toEqual(['meta scrub', 'vault.erase', 'dropLayer']);
    await plane.volumes.create(request('next'), TESTER);
    const { scrub } = world.meta;
    world.meta.scrub = () => Promise.reject(new Error('the disk is full'));
    expect((await plane.volumes.delete('next', true, TESTER)).detail).toMatch(/freed later/);
    expect(world.host.store.size).toBe(0);
    expect([...world.vault.files.keys()]).toEqual([2]);
    world.meta.scrub = scrub;
    await world.advance(1_000);
    expect([...world.vault.files.keys()]).toEqual([]);
    expect(plane.volumes.list({}, false)).toEqual([]);
  });
});

describe('a new master key', () => {
  eachWithPlane();

  const REQUEST = {
    provider: '',
    keyFile: '',
    passphraseFile: '',
    passphraseEnvironment: '',
    passphraseCredential: '',
    keyCommand: [],
    keyCommandTimeoutMs: 0,
  };

  it('names the settings that the daemon then needs', async () => {
    expect(await plane.masterKeys.rotate(REQUEST, TESTER)).toMatchObject({ settingsChanged: false, oldKeyFile: '' });
    const moved = await plane.masterKeys.rotate({ ...REQUEST, keyFile: '/usb/key' }, TESTER);
    expect(moved).toMatchObject({ settingsChanged: true, settings: { key_provider: 'file', key_file: '/usb/key' } });
    const next = await plane.masterKeys.rotate(
      { ...REQUEST, provider: 'command', keyCommand: ['/bin/kms', '--pin=1234'] },
      TESTER,
    );
    expect(next).toMatchObject({ settings: { key_command: '/bin/kms' }, oldKeyFile: '/usb/key' });
    expect(plane.problems()).toMatchObject([
      { subject: 'keys', remedy: expect.stringMatching(/--key-provider command --key-command \/bin\/kms/) as string },
    ]);
    expect(JSON.stringify([next, world.log.lines, await plane.masterKeys.status()])).not.toContain('1234');
  });

  it.each([
    [{ provider: 'vault' }, /no key provider/],
    [{ provider: 'passphrase' }, /needs one of/],
    [{ provider: 'command' }, /needs --key-command/],
    [{ provider: 'command', keyCommand: ['/bin/kms'], keyCommandTimeoutMs: 5 }, /between 100 ms and 600 s/],
    [{ provider: 'passphrase', keyFile: '/x' }, /--key-file does not go with/],
    [{ passphraseFile: '/x' }, /--passphrase-file does not go with the key provider "file"/],
    [{ keyFile: 'relative' }, /not an absolute path/],
    [{ provider: 'passphrase', passphraseFile: '/a', passphraseEnvironment: 'B' }, /needs one of/],
  ])('refuses %j', async (fields, message) => {
    await expect(plane.masterKeys.rotate({ ...REQUEST, ...fields }, TESTER)).rejects.toThrow(message);
    expect(world.vault.masterKeyNumber).toBe(1);
  });

  it('that is not ended is ended later, and no key is made or erased meanwhile', async () => {
    await plane.volumes.create(request('web'), TESTER);
    world.vault.unfinished = new CryptoError('the disk is full', { code: 'IO', path: 'keys' });
    expect(await plane.masterKeys.rotate(REQUEST, TESTER)).toMatchObject({ unfinished: 'the disk is full' });
    expect(plane.problems()).toMatchObject([{ subject: 'keys' }]);
    await expect(plane.volumes.create(request('more'), TESTER)).rejects.toMatchObject({ code: 'REFUSED' });
    await world.advance(1_000);
    expect(plane.problems()).toEqual([]);
    await plane.volumes.create(request('more'), TESTER);
  });

  it('waits for keys that are being made, and they for it', async () => {
    await Promise.all([
      plane.volumes.create(request('a'), TESTER),
      plane.masterKeys.rotate(REQUEST, TESTER),
      plane.volumes.create(request('b'), TESTER),
    ]);
    const steps = world.crash.steps.filter((step) => step !== 'createLayer');
    const at = steps.indexOf('vault.rotateMaster');
    // Both copies of a key are wrapped under one master key: nothing stands between the file and the record.
    for (const [index, step] of steps.entries()) if (step === 'vault.create') expect(index + 1).not.toBe(at);
  });
});

describe('a crash at every step', () => {
  const verbs: readonly [string, object, (of: ControlPlane) => Promise<unknown>][] = [
    ['of a new data key', {}, (of) => of.encryption.rotate('web', TESTER)],
    ['of turning encryption on', PLAIN, (of) => of.encryption.encrypt('web', TESTER)],
    ['of turning encryption off', {}, (of) => of.encryption.decrypt('web', TESTER)],
    ['of a key that is not needed any more', {}, (of) => of.encryption.unneeded(of.volumes.get('web', false).id, 1, 2)],
  ];

  it.each(verbs)('%s leaves a volume with all of its keys, and no others', async (name, fields, act) => {
    for (const before of [true, false]) {
      for (let step = 0; ; step += 1) {
        const crashed = new FakeWorld();
        const dying = await crashed.start();
        await dying.volumes.create(request('web', fields), TESTER);
        if (name.includes('not needed')) await dying.encryption.rotate('web', TESTER);
        crashed.crash.arm(step, before);
        await act(dying).catch(() => undefined);
        const done = crashed.crash.steps.length <= step;
        crashed.kill();
        const next = await crashed.start();
        const { state, id } = next.volumes.get('web', false);
        expect(state).toBe('available');
        const handle = [...crashed.host.handles.values()].find(({ volumeId }) => volumeId === id);
        const kept = (await crashed.meta.list('control/data-key/')).entries.map(({ key }) => Number(key.split('/')[2]));
        expect([...crashed.vault.files.keys()].sort()).toEqual([...(handle?.keyNumbers ?? [])].sort());
        expect(kept.sort()).toEqual([...(handle?.keyNumbers ?? [])].sort());
        await next.close();
        if (done) break;
      }
    }
  });
});

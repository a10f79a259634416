import { spawnSync } from 'node:child_process';
import { copyFile, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { openEnvironment, recordKey, stateKey } from '../../src/meta/lmdb-environment.js';
import { encodeState, META_FORMAT } from '../../src/meta/lmdb-record.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';
import { MetaError } from '../../src/meta/meta-error.js';
import { ManualClock } from '../base/manual-clock.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { describeMetaStore } from './meta-store-compliance.js';

describeMetaStore('LmdbMetaStore', async (options) => {
  const clock = new ManualClock();
  const path = join(await temporaryFolder(), 'meta');
  return {
    store: await LmdbMetaStore.open({ path, ...options }, { clock }),
    pass: (ms) => {
      clock.advance(ms);
      return Promise.resolve();
    },
  };
});

async function openAt(path: string): Promise<LmdbMetaStore> {
  const store = await LmdbMetaStore.open({ path }, { clock: new SystemClock() });
  onTestFinished(() => store.close());
  return store;
}

function value(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

async function fill(path: string, count: number): Promise<void> {
  const store = await openAt(path);
  for (let index = 0; index < count; index++) {
    await store.transaction({
      set: [{ key: `v/${String(index)}`, value: value(`content of ${String(index)} `.repeat(20)) }],
    });
  }
  await store.close();
}

function faultOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'resolved',
    (thrown: unknown) => (thrown instanceof MetaError ? thrown.fault : thrown),
  );
}

describe('LmdbMetaStore over a restart', () => {
  it('keeps what was committed, and goes on counting revisions', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const before = await openAt(path);
    const { revision } = await before.transaction({ set: [{ key: 'a', value: value('1') }] });
    await before.transaction({ delete: ['nothing'] });
    await before.close();
    const after = await openAt(path);
    expect(after.damage).toEqual([]);
    expect(await after.get('a')).toMatchObject({ value: value('1'), revision });
    const next = await after.transaction({ set: [{ key: 'b', value: value('2') }] });
    expect(next.revision).toBeGreaterThan(revision);
  });

  it('ends the leases of the process before', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const before = await openAt(path);
    const lease = await before.grantLease(3_600_000);
    await before.transaction({
      set: [
        { key: 'a', value: value('1'), lease: lease.id },
        { key: 'b', value: value('2') },
      ],
    });
    await before.close();
    const after = await openAt(path);
    expect((await after.list('')).entries.map(({ key }) => key)).toEqual(['b']);
    await after.close();
    expect((await openAt(path)).damage).toEqual([]);
  });

  it('commits what was accepted before it closes', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const before = await openAt(path);
    const accepted = Array.from({ length: 10 }, (_, index) =>
      before.transaction({ set: [{ key: `k/${String(index)}`, value: value('') }] }),
    );
    await before.close();
    expect((await Promise.all(accepted)).every(({ committed }) => committed)).toBe(true);
    expect((await (await openAt(path)).list('k/')).entries).toHaveLength(10);
  });

  it('is readable by its owner only', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 1);
    expect((await stat(path)).mode & 0o077).toBe(0);
    expect((await stat(join(path, 'data.mdb'))).mode & 0o077).toBe(0);
  });

  it('refuses an environment of a newer version', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 1);
    const environment = openEnvironment(path, false);
    await environment.put(
      stateKey(),
      Buffer.from(encodeState({ format: META_FORMAT + 1, records: 1, revision: 1, digest: 0 })),
    );
    await environment.close();
    expect(await faultOf(openAt(path))).toEqual({ code: 'VERSION', found: META_FORMAT + 1, supported: META_FORMAT });
  });
});

describe('LmdbMetaStore and damage', () => {
  it('never returns a changed record, names it, and serves the others', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 5);
    const file = join(path, 'data.mdb');
    const bytes = await readFile(file);
    // Every copy of the text: LMDB may keep older pages.
    for (let at = bytes.indexOf('content of 3 '); at >= 0; at = bytes.indexOf('content of 3 ', at + 1))
      bytes[at] = 0x43;
    await writeFile(file, bytes);

    const store = await openAt(path);
    expect(store.damage).toEqual(['the record of v/3 is damaged']);
    expect(await faultOf(store.get('v/3'))).toEqual({ code: 'DAMAGED', key: 'v/3' });
    const listing = await store.list('v/');
    expect(listing.damaged).toEqual(['v/3']);
    expect(listing.entries.map(({ key }) => key)).toEqual(['v/0', 'v/1', 'v/2', 'v/4']);
    expect(await faultOf(store.transaction({ compare: [{ key: 'v/3', revision: 1 }] }))).toEqual({
      code: 'DAMAGED',
      key: 'v/3',
    });

    await store.transaction({ set: [{ key: 'v/3', value: value('anew') }] });
    expect((await store.get('v/3'))?.value).toEqual(value('anew'));
    await store.close();
    expect((await openAt(path)).damage).toEqual([]);
  });

  it('does not take one record for another', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 2);
    const environment = openEnvironment(path, false);
    await environment.put(recordKey('v/1'), environment.get(recordKey('v/0')) ?? Buffer.alloc(0));
    await environment.close();
    expect((await openAt(path)).damage).toEqual(['the record of v/1 is damaged']);
  });

  it('notices records that are gone without a trace', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 3);
    const environment = openEnvironment(path, false);
    await environment.remove(recordKey('v/1'));
    await environment.close();
    expect((await openAt(path)).damage).toEqual([expect.stringMatching(/do not add up/)]);
  });

  it('makes a damaged state record anew from the records', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 3);
    const environment = openEnvironment(path, false);
    await environment.put(stateKey(), Buffer.from('rubbish'));
    await environment.close();
    const store = await openAt(path);
    expect(store.damage).toEqual([expect.stringMatching(/state record/)]);
    const { revision } = await store.transaction({ set: [{ key: 'next', value: value('') }] });
    expect(revision).toBeGreaterThan((await store.get('v/2'))?.revision ?? Infinity);
  });

  it.each([
    ['cut in half', async (file: string) => truncate(file, Math.floor((await stat(file)).size / 2 / 4096) * 4096)],
    [
      'overwritten behind its first pages',
      async (file: string) => {
        const bytes = await readFile(file);
        bytes.fill(0xa5, 8192);
        await writeFile(file, bytes);
      },
    ],
    ['rubbish from its first byte', async (file: string) => writeFile(file, Buffer.alloc(65536, 0x5a))],
  ])('survives an environment that is %s', async (_, ruin) => {
    const path = join(await temporaryFolder(), 'meta');
    await fill(path, 300);
    await ruin(join(path, 'data.mdb'));
    const fault = await faultOf(openAt(path));
    expect(fault).toEqual({ code: 'DAMAGED', key: '' });
  });
});

describe('LmdbMetaStore on a full disk', () => {
  it('reports FULL, changes nothing, and goes on when there is space again', async (context) => {
    const folder = await temporaryFolder();
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', folder]);
    if (mounted.status !== 0) {
      context.skip('needs the right to mount a tmpfs');
    }
    onTestFinished(() => {
      spawnSync('umount', ['-l', folder]);
    });
    const path = join(folder, 'meta');
    await mkdir(path);
    const store = await openAt(path);
    const big = new Uint8Array(200_000).fill(7);
    let fault: unknown = null;
    let kept = 0;
    while (fault === null && kept < 100) {
      const outcome = await faultOf(store.transaction({ set: [{ key: `big/${String(kept)}`, value: big }] }));
      if (outcome === 'resolved') kept++;
      else fault = outcome;
    }
    expect(fault).toEqual({ code: 'FULL' });
    expect((await store.list('big/')).entries).toHaveLength(kept);
    await store.transaction({ delete: ['big/0', 'big/1', 'big/2'] });
    expect((await store.transaction({ set: [{ key: 'small', value: value('fits') }] })).committed).toBe(true);
    await store.close();
    // The probe may need no space at all.
    const again = await openAt(path);
    expect(again.damage).toEqual([]);
    expect((await again.list('big/')).entries).toHaveLength(kept - 3);
    await again.close();
  });
});

describe('LmdbMetaStore beyond the address space that it began with', () => {
  it('grows several times, and holds everything after a restart', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const mapBytes = 64 * 1024;
    const clock = new SystemClock();
    let store = await LmdbMetaStore.open({ path, mapBytes }, { clock });
    const big = (n: number): Uint8Array => new Uint8Array(100_000).fill(n + 1);
    const entries = 24;
    const holds = async (n: number): Promise<boolean> =>
      Buffer.compare((await store.get(`big/${String(n)}`))?.value ?? value(''), big(n)) === 0;
    for (let n = 0; n < entries; n++) {
      expect((await store.transaction({ set: [{ key: `big/${String(n)}`, value: big(n) }] })).committed).toBe(true);
      expect(await holds(0)).toBe(true);
    }
    await store.close();
    store = await LmdbMetaStore.open({ path, mapBytes }, { clock });
    expect(store.damage).toEqual([]);
    for (let n = 0; n < entries; n++) expect(await holds(n)).toBe(true);
    expect((await store.transaction({ set: [{ key: 'one-more', value: big(entries) }] })).committed).toBe(true);
    await store.close();
  });
});

describe('LmdbMetaStore and a copy of its files', () => {
  it('has on disk what it acknowledged, at the moment it did', async () => {
    const folder = await temporaryFolder();
    const store = await openAt(join(folder, 'meta'));
    await store.transaction({ set: [{ key: 'a', value: value('acknowledged') }] });
    // Without closing: what a kill -9 at this moment would leave.
    await mkdir(join(folder, 'copy'));
    await copyFile(join(folder, 'meta', 'data.mdb'), join(folder, 'copy', 'data.mdb'));
    const copy = await openAt(join(folder, 'copy'));
    expect((await copy.get('a'))?.value).toEqual(value('acknowledged'));
  });
});

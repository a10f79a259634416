import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, link, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SystemClock } from '../../src/base/system-clock.js';
import { LmdbMetaStore } from '../../src/meta/lmdb-meta-store.js';
import { temporaryFolder } from '../base/temporary-folder.js';
import { runChild } from '../io/child.js';

const SECRET = 'a wrapped key that has to go';
const KEPT = 'a wrapped key that has to stay';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

async function openAt(path: string): Promise<LmdbMetaStore> {
  const store = await LmdbMetaStore.open({ path }, { clock: new SystemClock() });
  onTestFinished(() => store.close());
  return store;
}

/** Every file under the folder, however deep, that has the text in it. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => statSync(name).isFile() && readFileSync(name).includes(text));
}

/** A store with history: many values under few keys, so that freed pages and gaps in live ones hold old values. */
async function filled(path: string): Promise<void> {
  const store = await openAt(path);
  for (let round = 0; round < 20; round += 1) {
    await store.transaction({
      set: [
        { key: 'gone', value: bytes(`${SECRET} ${String(round)} `.repeat(8)) },
        { key: 'kept', value: bytes(KEPT) },
        { key: `row/${String(round)}`, value: bytes('x'.repeat(700)) },
      ],
    });
  }
  await store.close();
}

describe('scrub', () => {
  it('leaves nothing of what was deleted or replaced, where a deletion alone does', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await filled(path);
    const store = await openAt(path);
    await store.transaction({ delete: ['gone'] });
    expect(filesWith(path, SECRET)).not.toEqual([]);
    const before = await store.list('');
    await store.scrub();
    expect(filesWith(path, SECRET)).toEqual([]);
    expect(filesWith(path, KEPT)).toEqual([join(path, 'data.mdb')]);
    expect(await store.list('')).toEqual(before);
    expect(readdirSync(path).sort()).toEqual(['data.mdb', 'lock.mdb']);
  });

  it('leaves nothing of it in the file that was replaced either', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await filled(path);
    const store = await openAt(path);
    await store.transaction({ delete: ['gone'] });
    // A second name, to see what the freed blocks hold afterwards.
    await link(join(path, 'data.mdb'), join(path, '..', 'held'));
    await store.scrub();
    expect(readFileSync(join(path, '..', 'held')).every((byte) => byte === 0)).toBe(true);
  });

  it('goes on as before: revisions count on, watches see all, a restart finds it', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const store = await openAt(path);
    const seen: number[] = [];
    const watch = store.watch('', 0, {
      onChanges: (_, revision) => seen.push(revision),
      onLost: (reason) => {
        throw reason;
      },
    });
    // All at once: scrubs stand between transactions and reads.
    const work = [];
    for (let n = 0; n < 60; n += 1) {
      work.push(store.transaction({ set: [{ key: `k/${String(n % 7)}`, value: bytes(String(n)) }] }));
      if (n % 10 === 5) work.push(store.scrub());
      work.push(store.get(`k/${String(n % 5)}`), store.list('k/'));
    }
    await Promise.all(work);
    expect(seen).toEqual(Array.from({ length: 60 }, (_, n) => n + 1));
    watch.close();
    const before = await store.list('');
    await store.close();
    const after = await openAt(path);
    expect(after.damage).toEqual([]);
    expect((await after.list('')).entries).toEqual(before.entries);
    await expect(store.scrub()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  it('copies more records than one commit takes, in their order', async () => {
    const path = join(await temporaryFolder(), 'meta');
    const store = await openAt(path);
    for (let round = 0; round < 15; round += 1) {
      const set = Array.from({ length: 100 }, (_, n) => ({
        key: `k/${String(round)}/${String(n)}`,
        value: bytes(String(round * 100 + n)),
      }));
      await store.transaction({ set });
    }
    const before = await store.list('');
    expect(before.entries).toHaveLength(1500);
    await store.scrub();
    expect(await store.list('')).toEqual(before);
  });

  it('that fails leaves the store as it was, and can be asked again', async () => {
    const path = join(await temporaryFolder(), 'meta');
    await filled(path);
    let failAt = -1;
    let step = 0;
    const store = await LmdbMetaStore.open(
      {
        path,
        onScrubStep: () => {
          if (step++ === failAt) throw Object.assign(new Error('the disk says no'), { code: 'EIO' });
        },
      },
      { clock: new SystemClock() },
    );
    onTestFinished(() => store.close());
    await store.transaction({ delete: ['gone'] });
    const before = await store.list('');
    let failures = 0;
    for (failAt = 0; ; failAt += 1) {
      step = 0;
      const failure: unknown = await store.scrub().then(
        () => null,
        (thrown: unknown) => thrown,
      );
      expect(await store.list('')).toEqual(before);
      if (failure === null) break;
      expect(failure).toMatchObject({ code: 'IO' });
      failures += 1;
    }
    expect(failures).toBeGreaterThan(5);
    expect(filesWith(path, SECRET)).toEqual([]);
  });

  it('killed before any of its steps loses nothing, and the next start ends it', { timeout: 120_000 }, async () => {
    const child = new URL('./scrub-child.ts', import.meta.url);
    let killed = 0;
    for (let step = 0; ; step += 1) {
      const path = join(await temporaryFolder(), 'meta');
      await filled(path);
      const outcome = await runChild(child, [path, String(step)]);
      const store = await openAt(path);
      expect(store.damage, `killed before step ${String(step)}`).toEqual([]);
      expect((await store.list('')).entries).toHaveLength(21);
      expect(await store.get('gone')).toBeNull();
      // What the start leaves is one environment; whoever deleted asks for the scrub again.
      expect(readdirSync(path).sort()).toEqual(['data.mdb', 'lock.mdb']);
      await store.scrub();
      expect(filesWith(path, SECRET)).toEqual([]);
      if (outcome.signal === null) {
        expect(Number(outcome.stdout)).toBe(killed);
        break;
      }
      expect(outcome.signal).toBe('SIGKILL');
      killed += 1;
    }
    expect(killed).toBeGreaterThan(5);
  });

  it('says which folder cannot be written', async (context) => {
    context.skip(process.getuid?.() === 0, 'needs an ordinary user: root may write any folder');
    const path = join(await temporaryFolder(), 'meta');
    await mkdir(path);
    const store = await openAt(path);
    await chmod(path, 0o500);
    onTestFinished(() => chmod(path, 0o700));
    await expect(store.scrub()).rejects.toMatchObject({ code: 'IO', message: expect.stringContaining(path) as string });
    expect(existsSync(join(path, 'data.mdb'))).toBe(true);
  });
});

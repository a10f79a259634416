import { createHash } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readSync, rmSync, statSync, writeSync } from 'node:fs';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Operation } from '../../src/device/block-device.js';
import { NativeFiles } from '../../src/io/native-files.js';
import type { CheckFinding } from '../../src/store/check-finding.js';
import { LmdbMapEnvironment } from '../../src/store/map/lmdb-map-environment.js';
import type { MapChange } from '../../src/store/map/map-environment.js';
import { COUNT_KEYS, FILTER_KEYS, LAYER_KEYS, LEAF_KEYS } from '../../src/store/map/map-keys.js';
import { MapRows } from '../../src/store/map/map-rows.js';
import { checkStore, type CheckedVolume, type StoreFacts } from '../../src/store/store-check.js';
import { encodeCount } from '../../src/store/stored-rows.js';
import type { LayerId } from '../../src/volume/volume-host.js';
import { SeededRandom } from '../base/seeded-random.js';
import { MIB, perform, StoreWorld } from './store-world.js';

const BLOCK = 4096;
/** Damaged copies of the journal that are looked at; DAMAGE_FULL=1 takes many. */
const CASES = process.env['DAMAGE_FULL'] === '1' ? 600 : 20;
const KEY = new Uint8Array(32).fill(9);
const random = new SeededRandom(11);
let world: StoreWorld;
let secret: LayerId;
let plain: LayerId;

/** A store with two volumes, one with a snapshot, that has been stopped and started. */
beforeEach(async () => {
  world = await StoreWorld.make();
  await world.open();
  secret = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
  plain = await world.manager.createLayer(BLOCK, 1000 * BLOCK);
  await scribble(300);
  const [child] = await world.manager.freeze([secret]);
  secret = child;
  await scribble(100);
  await world.close();
  await world.open();
  await scribble(50);
});

afterEach(() => world.destroy());

async function scribble(times: number): Promise<void> {
  const volumes = [world.volume(secret, KEY, 1), world.volume(plain, null)];
  for (let n = 0; n < times; n += 1) {
    const data = new Uint8Array((1 + random.below(4)) * BLOCK).fill(1 + random.below(255));
    await perform(volumes[n % 2], Operation.WRITE, random.below(900) * BLOCK, data.length, { data });
  }
  for (const volume of volumes) {
    await perform(volume, Operation.FLUSH, 0, 0);
    await volume.close();
  }
}

async function check(
  options: { deep?: boolean; keys?: boolean } = {},
): Promise<{ facts: StoreFacts; findings: CheckFinding[] }> {
  const findings: CheckFinding[] = [];
  const volumes: CheckedVolume[] = [
    {
      subject: 'volume secret',
      layer: secret,
      snapshotLayers: [],
      keys: options.keys === false ? null : { keys: [{ number: 1, secret: KEY.slice() }], plain: false },
    },
    { subject: 'volume plain', layer: plain, snapshotLayers: [], keys: { keys: [], plain: true } },
  ];
  const facts = await checkStore(
    { storagePath: world.path, nodeId: new Uint8Array(16).fill(7), segmentBytes: MIB, deep: options.deep ?? true },
    { files: new NativeFiles(), keys: world.keys, checksums: world.checksums, clock: world.clock },
    (finding) => findings.push(finding),
    () => Promise.resolve(volumes),
  );
  return { facts, findings };
}

function damageIn(findings: readonly CheckFinding[]): string[] {
  return findings.filter(({ level }) => level === 'damage').map(({ subject, what }) => `${subject}: ${what}`);
}

/** Every name under the storage path with its bytes, mode and time of change. */
function picture(): string[] {
  return readdirSync(world.path, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    const { mtimeMs, ctimeMs, mode, size } = statSync(path);
    const hash = entry.isFile() ? createHash('sha256').update(readFileSync(path)).digest('hex') : '';
    return [relative(world.path, path), mtimeMs, ctimeMs, mode, size, hash].join(' ');
  });
}

function flip(path: string, offset: number): void {
  const file = openSync(path, 'r+');
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, offset);
  byte[0] ^= 1;
  writeSync(file, byte, 0, 1, offset);
  closeSync(file);
}

async function changeMap(change: (rows: MapRows) => MapChange[]): Promise<void> {
  const environment = new LmdbMapEnvironment({ path: join(world.path, 'map') });
  const rows = new MapRows({ environment, checksums: world.checksums });
  await rows.commit(change(rows));
  await rows.close();
}

const segments = (): string[] =>
  readdirSync(join(world.path, 'journal')).map((name) => join(world.path, 'journal', name));

describe.each(['stopped', 'killed'])('a store that was %s', (ending) => {
  beforeEach(() => (ending === 'stopped' ? world.close() : world.kill()));

  it('is clean when nothing is wrong, and not a byte, a time or a name changes', async () => {
    const before = picture();
    const { facts, findings } = await check();
    expect(damageIn(findings)).toEqual([]);
    expect(facts.openedBlocks).toBe(facts.liveBlocks);
    expect(facts.liveBlocks).toBeGreaterThan(400);
    expect(facts.layers).toBe(3);
    const sample = await check({ deep: false });
    expect(sample.facts.openedBlocks).toBeGreaterThan(0);
    expect(picture()).toEqual(before);
  });

  it('shows each kind of damage in the journal, and that looking changed nothing', async () => {
    const seen = new Map<string, number>();
    let told = 0;
    for (let n = 0; n < CASES; n += 1) {
      const found = segments().filter((path) =>
        readFileSync(path)
          .subarray(4096)
          .some((byte) => byte !== 0),
      );
      const path = found[random.below(found.length)];
      const { end } = written(path);
      const offset = n % 4 === 0 ? random.below(88) : 4096 + random.below(end - 4096);
      flip(path, offset);
      const before = picture();
      const { findings } = await check();
      // Nothing holds what fills a page up, and the last record of a killed store may be a torn one.
      if (findings.length > 0) told += 1;
      expect(picture()).toEqual(before);
      for (const { what } of findings) {
        const kind = what.replaceAll(/\d+/g, 'N').slice(0, 40);
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
      }
      flip(path, offset);
    }
    expect(told).toBeGreaterThan((CASES * 3) / 4);
    expect([...seen.keys()].some((kind) => kind.includes('header'))).toBe(true);
    expect([...seen.keys()].some((kind) => kind.startsWith('blocks N'))).toBe(true);
  });

  it('names a missing segment with what is lost', async () => {
    rmSync(segments()[0]);
    expect(damageIn((await check()).findings).join('\n')).toMatch(/its file is gone/);
  });

  it('names the volume whose block is damaged, without its key as well', async () => {
    // The bytes of the plain volume tell which they are; of the other one the record alone is known.
    const path = segments()[0];
    for (let at = 8192; at < written(path).end; at += BLOCK) flip(path, at);
    const told = damageIn((await check({ keys: false })).findings).join('\n');
    expect(told).toMatch(/volume (secret|plain) \(layer \d\)/);
  });
});

describe('a map', () => {
  beforeEach(() => world.close());

  it('with a lost leaf, a stray one, and a wrong count', async () => {
    await changeMap((rows) => {
      const [leaf] = rows.range(LEAF_KEYS);
      return [rows.remove(leaf.key)];
    });
    expect(damageIn((await check()).findings).join('\n')).toMatch(/leaf \d+ of .* is not there/);
    await changeMap((rows) => [...rows.range(FILTER_KEYS)].slice(0, 1).map(({ key }) => rows.remove(key)));
    expect(damageIn((await check()).findings).join('\n')).toMatch(/its filter does not know it/);
    await changeMap((rows) => [...rows.range(COUNT_KEYS)].slice(1, 2).map(({ key }) => rows.put(key, encodeCount(7))));
    expect(damageIn((await check()).findings).join('\n')).toMatch(/and 7 are counted/);
  });

  it('with a damaged row is set aside in the mind, and what the journal gives is said', async () => {
    await changeMap((rows) => {
      const [row] = rows.range(LAYER_KEYS);
      const { key, value } = rows.put(row.key, row.value);
      const bytes = value?.slice() ?? new Uint8Array(0);
      bytes[3] ^= 1;
      return [{ key, value: bytes }];
    });
    const before = picture();
    const { findings, facts } = await check();
    expect(damageIn(findings).join('\n')).toMatch(/does not match its checksum/);
    // All of it is in the journal.
    expect(facts.liveBlocks).toBeGreaterThan(400);
    expect(picture()).toEqual(before);
  });

  it('with a layer whose parent is gone', async () => {
    await changeMap((rows) => {
      const all = [...rows.range(LAYER_KEYS)];
      const decoded = all.map(({ key, value }) => ({
        key,
        row: JSON.parse(Buffer.from(value).toString()) as { id: number },
      }));
      const child = decoded.find(({ row }) => row.id === (secret as number));
      if (child === undefined) throw new Error('no such layer');
      return [rows.put(child.key, Buffer.from(JSON.stringify({ ...child.row, parent: 77 })))];
    });
    expect(damageIn((await check()).findings).join('\n')).toMatch(/its parent, layer 77, is gone/);
  });
});

/** Where the last byte that is not zero lies. */
function written(path: string): { end: number } {
  const bytes = readFileSync(path);
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return { end };
}

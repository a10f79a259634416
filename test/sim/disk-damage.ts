import { join } from 'node:path';
import { SECTOR_BYTES } from '../base/power-cut.js';
import { SeededRandom } from '../base/seeded-random.js';
import type { Place } from './journal-history.js';
import type { Step } from './script.js';
import type { SectorFile } from './sector-file.js';
import type { SimulatedNode } from './simulated-node.js';

const BLOCK_HEADER_BYTES = 64;
const MAP_PATH = '/node/map';
export const JOURNAL_PATH = '/node/journal';

interface Victim {
  readonly layer: number;
  readonly block: number;
  readonly place: Place;
  /** An older sealed block of the same place in the volume, from another segment. */
  readonly older: Place | null;
}

/** What a damage has come to. */
export interface Damaged {
  /** Sealed blocks that somebody shows and that are not what they were. */
  readonly places: readonly Place[];
  /** Rows of the map may be damaged: then blocks are that nobody has touched. */
  readonly map: boolean;
  /** Whether what lies there is what it was. */
  readonly isWhole: (place: Place) => boolean;
}

/** Changes some of what the disk holds, in records up to `covered`. null when there is nothing to change. */
export function damageDisk(
  step: Extract<Step, { kind: 'damage' }>,
  node: SimulatedNode,
  covered: number,
): Damaged | null {
  const { disk } = node.machine;
  const paths = [...disk.directory(JOURNAL_PATH).names.keys()].sort().map((name) => join(JOURNAL_PATH, name));
  const wholeBytes = (path: string): Uint8Array => {
    const file = disk.file(path);
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes, 0, bytes.length);
    return bytes;
  };
  const before = new Map(paths.map((path) => [path, wholeBytes(path)]));
  const victims = victimsOf(node, covered);
  if (!change(step, node, covered, victims)) return null;
  const isWhole = ({ path, offset, storedBytes }: Place): boolean => {
    const file = disk.file(path);
    const bytes = new Uint8Array(sealedBytesOf(storedBytes));
    file.read(offset, bytes, 0, bytes.length);
    const old = before.get(path)?.subarray(offset, offset + bytes.length) ?? bytes;
    return file.readable(offset, storedBytes) && Buffer.compare(bytes, old) === 0;
  };
  const places = victims.map(({ place }) => place).filter((place) => !isWhole(place));
  return { places, map: step.what === 'map row', isWhole };
}

/** Header and payload; what lies behind them up to the next block is nobody's. */
function sealedBytesOf(storedBytes: number): number {
  return BLOCK_HEADER_BYTES + (storedBytes * 64) / 65;
}

function change(
  step: Extract<Step, { kind: 'damage' }>,
  node: SimulatedNode,
  covered: number,
  victims: readonly Victim[],
): boolean {
  const random = new SeededRandom(step.seed);
  const { disk } = node.machine;
  const flip = (file: SectorFile, offset: number): void => {
    const byte = new Uint8Array(1);
    file.read(offset, byte, 0, 1);
    file.damage(offset, Uint8Array.of(byte[0] ^ (1 << random.below(8))));
  };
  const bytesAt = (place: Place): Uint8Array => {
    const bytes = new Uint8Array(place.storedBytes);
    disk.file(place.path).read(place.offset, bytes, 0, bytes.length);
    return bytes;
  };
  let done = false;
  for (let n = 0; n < step.times; n += 1) {
    const victim = victims.length === 0 ? null : victims[random.below(victims.length)];
    const file = victim === null ? null : disk.file(victim.place.path);
    switch (step.what) {
      case 'payload':
        if (victim === null || file === null) break;
        flip(
          file,
          victim.place.offset +
            BLOCK_HEADER_BYTES +
            random.below(sealedBytesOf(victim.place.storedBytes) - BLOCK_HEADER_BYTES),
        );
        done = true;
        break;
      case 'block header':
        if (victim === null || file === null) break;
        flip(file, victim.place.offset + random.below(BLOCK_HEADER_BYTES));
        done = true;
        break;
      case 'record header': {
        const all = node.expectations.history.headers.filter((each) => each.sequence <= covered);
        const verbs = all.filter((each) => each.verb);
        const headers = verbs.length > 0 && random.below(2) === 0 ? verbs : all;
        if (headers.length === 0) break;
        const header = headers[random.below(headers.length)];
        flip(disk.file(header.path), header.offset + random.below(96));
        done = true;
        break;
      }
      case 'segment header': {
        const names = [...disk.directory(JOURNAL_PATH).names.keys()].sort();
        flip(disk.file(join(JOURNAL_PATH, names[random.below(names.length)])), random.below(88));
        done = true;
        break;
      }
      case 'stale block': {
        const stale = victims.filter((each) => each.older !== null);
        if (stale.length === 0) break;
        const { place, older } = stale[random.below(stale.length)];
        disk.file(place.path).damage(place.offset, bytesAt(older!));
        done = true;
        break;
      }
      case 'other block': {
        const other = victims.find(
          (each) => each.place.storedBytes === victim?.place.storedBytes && each.block !== victim.block,
        );
        if (victim === null || file === null || other === undefined) break;
        file.damage(victim.place.offset, bytesAt(other.place));
        done = true;
        break;
      }
      case 'lost sector':
        if (victim === null || file === null) break;
        file.damage(Math.floor(victim.place.offset / SECTOR_BYTES + 1) * SECTOR_BYTES, new Uint8Array(SECTOR_BYTES));
        done = true;
        break;
      case 'bad sector':
        if (victim === null || file === null) break;
        file.bad.add(Math.floor((victim.place.offset + random.below(victim.place.storedBytes)) / SECTOR_BYTES));
        done = true;
        break;
      case 'map row': {
        const { rows } = disk.directory(MAP_PATH);
        const keys = [...rows.keys()].sort();
        const row = rows.get(keys[random.below(keys.length)]);
        if (row === undefined) break;
        row[random.below(row.length)] ^= 1 << random.below(8);
        done = true;
        break;
      }
    }
  }
  return done;
}

/** The newest sealed block of every place that has one. */
function victimsOf(node: SimulatedNode, covered: number): Victim[] {
  const victims: Victim[] = [];
  for (const layer of node.layersAlive()) {
    for (const [block, versions] of layer.blocks) {
      const newest = versions.at(-1);
      if (newest === undefined || newest.place === null || newest.sequence > covered) continue;
      const { place } = newest;
      const older = versions.findLast((each) => each.place !== null && each.place.path !== place.path)?.place ?? null;
      victims.push({ layer: layer.id, block, place, older });
    }
  }
  return victims;
}

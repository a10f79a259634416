import { Operation } from '../../src/device/block-device.js';
import type { LayerId, LayerSummary, VolumeHandle } from '../../src/volume/volume-host.js';
import { perform } from '../store/store-world.js';

/** What one volume of a reference store holds. */
export interface VolumeContents {
  readonly layer: number;
  readonly blockBytes: number;
  readonly encrypted: boolean;
  /** By block: the number whose pattern fills it; 0: zeros. */
  readonly blocks: number[];
  /** Its last writes were never covered by a sync: any number, as long as a block is whole. */
  readonly loose: boolean;
}

/** What reading everything showed. Anything else than this is a failure, and thrown. */
export interface Outcome {
  /** By layer: why its volume is refused as a whole. */
  readonly refused: Readonly<Record<number, string>>;
  /** `layer:block` of blocks that were answered with EIO. */
  readonly bad: readonly string[];
}

/** The part of a node that is judged. */
export interface Opened {
  layers(): LayerSummary[];
  open(contents: VolumeContents): VolumeHandle;
}

export const GONE = 'its layer is not in the store';
const ZEROS = 0;
const FACTOR = 0x9e3779b1;
/** Modulo 2^32. */
const FACTOR_INVERSE = 0x0e8b2f51;
const patterns = new Map<string, Uint8Array>();

/** The bytes of a block: every word tells its number and its place, so that nothing moved or zeroed looks right. */
export function patternOf(number: number, blockBytes: number): Uint8Array {
  const name = `${number}:${blockBytes}`;
  let bytes = patterns.get(name);
  if (bytes === undefined) {
    const words = new Uint32Array(blockBytes / 4);
    if (number !== ZEROS) for (let n = 0; n < words.length; n += 1) words[n] = Math.imul(number, FACTOR) + n;
    bytes = new Uint8Array(words.buffer);
    patterns.set(name, bytes);
  }
  return bytes;
}

/** Fills `count` blocks from `first` with the patterns of fresh numbers. */
export async function writeBlocks(
  handle: VolumeHandle,
  contents: VolumeContents,
  first: number,
  numbers: readonly number[],
): Promise<void> {
  const { blockBytes } = contents;
  const data = new Uint8Array(numbers.length * blockBytes);
  for (const [n, number] of numbers.entries()) data.set(patternOf(number, blockBytes), n * blockBytes);
  await perform(handle, Operation.WRITE, first * blockBytes, data.length, { data });
  for (const [n, number] of numbers.entries()) contents.blocks[first + n] = number;
}

export function flush(handle: VolumeHandle): Promise<void> {
  return perform(handle, Operation.FLUSH, 0, 0);
}

/** Reads every block of every volume: each is right, or EIO, or its volume is refused. Throws when one is not. */
export async function readEverything(node: Opened, volumes: readonly VolumeContents[]): Promise<Outcome> {
  const refused: Record<number, string> = {};
  const bad: string[] = [];
  const layers = new Map(node.layers().map((layer) => [layer.layer as number, layer]));
  for (const contents of volumes) {
    const layer = layers.get(contents.layer);
    if (layer === undefined) {
      refused[contents.layer] = GONE;
      continue;
    }
    if (layer.damage !== '') refused[contents.layer] = layer.damage;
    else if (layer.blockBytes !== contents.blockBytes) throw new Error(`layer ${contents.layer} has other blocks`);
    else if (layer.sizeBytes !== contents.blocks.length * contents.blockBytes) {
      throw new Error(`layer ${contents.layer} has ${layer.sizeBytes} bytes`);
    }
    const handle = node.open(contents);
    try {
      const failed = await readVolume(handle, contents);
      if (layer.damage === '') bad.push(...failed);
      else if (failed.length !== contents.blocks.length)
        throw new Error(`refused layer ${contents.layer} answers reads`);
    } finally {
      await handle.close();
    }
  }
  return { refused, bad };
}

async function readVolume(handle: VolumeHandle, contents: VolumeContents): Promise<string[]> {
  const { layer, blockBytes, loose } = contents;
  const failed: string[] = [];
  const reads = contents.blocks.map(async (number, block) => {
    const data = new Uint8Array(blockBytes);
    try {
      await perform(handle, Operation.READ, block * blockBytes, blockBytes, { data });
    } catch (thrown) {
      if (!(thrown instanceof Error) || !thrown.message.startsWith('IO: ')) throw thrown;
      failed.push(`${layer}:${block}`);
      return;
    }
    if (Buffer.compare(data, patternOf(number, blockBytes)) === 0) return;
    const found = numberIn(data);
    if (loose && Buffer.compare(data, patternOf(found, blockBytes)) === 0) return;
    throw new Error(`wrong data: block ${block} of layer ${layer} is ${found}, not ${number}`);
  });
  // All of them end before the first failure is told, or requests would outlive the case.
  for (const each of await Promise.allSettled(reads)) if (each.status === 'rejected') throw each.reason;
  return failed.sort();
}

/** The factor is odd, so the first word of a pattern gives its number back. */
function numberIn(data: Uint8Array): number {
  const word = new DataView(data.buffer, data.byteOffset).getUint32(0, true);
  return Math.imul(word, FACTOR_INVERSE) >>> 0;
}

/** What the first opening said of a block or a volume, the second says too. */
export function compare(first: Outcome, second: Outcome): void {
  for (const [layer, reason] of Object.entries(first.refused)) {
    const again = second.refused[Number(layer)];
    if (again !== reason) {
      throw new Error(
        `layer ${layer} was refused because "${reason}", and then ${again === undefined ? 'not' : `"${again}"`}`,
      );
    }
  }
  for (const [layer, reason] of Object.entries(second.refused)) {
    if (first.refused[Number(layer)] === undefined) {
      throw new Error(`layer ${layer} was served and is then refused: ${reason}`);
    }
  }
  const bad = new Set(first.bad);
  const spread = second.bad.filter((block) => !bad.has(block));
  if (spread.length > 0) throw new Error(`blocks that could be read cannot be read any more: ${spread.join(' ')}`);
}

export const layerId = (layer: number): LayerId => layer as LayerId;

import { join } from 'node:path';
import { segmentName } from '../../src/store/journal/segment-files.js';
import type { VolumeHandle } from '../../src/volume/volume-host.js';
import type { BadRange } from '../../src/volume/volume-scrub.js';
import { JOURNAL_PATH, type Damaged } from './disk-damage.js';
import { Violation } from './expectations.js';
import type { Place } from './journal-history.js';
import type { Step } from './script.js';
import type { SimulatedNode } from './simulated-node.js';
import type { Verbs } from './verbs.js';

const FAST_BYTES_PER_SECOND = 1e9;

/** Scrubs beside everything else: of a disk that is well they find nothing, and of a damaged one what is damaged. */
export class ScrubSteps {
  readonly #node: SimulatedNode;
  readonly #verbs: Verbs;
  #ending = new AbortController();

  constructor(node: SimulatedNode, verbs: Verbs) {
    this.#node = node;
    this.#verbs = verbs;
  }

  async scrub(step: Extract<Step, { kind: 'scrub' }>): Promise<void> {
    const node = this.#node;
    const { handles } = node.clients;
    const heads = [...handles.keys()].sort((a, b) => a - b);
    const handle = handles.get(heads[step.volume % heads.length]);
    if (handle === undefined) return;
    const scrub = this.#well(handle, step.bytesPerSecond);
    if (step.wait) await node.until(scrub);
  }

  /** Everything that is open, at once. */
  async scrubAll(): Promise<void> {
    const node = this.#node;
    node.look();
    const { handles, snapshots } = node.clients;
    for (const handle of [...handles.values(), ...snapshots.values()]) {
      await node.until(this.#well(handle, FAST_BYTES_PER_SECOND));
      node.throwViolation();
    }
  }

  /** Ends those that run: what they would find from here on is not held against them. */
  end(): void {
    this.#ending.abort();
    this.#ending = new AbortController();
  }

  async #well(handle: VolumeHandle, bytesPerSecond: number): Promise<void> {
    const node = this.#node;
    const { faults, time } = node.machine;
    const { signal } = this.#ending;
    await this.#verbs.run(
      'scrub',
      async () => {
        let sinceMs = time.nowMs;
        for await (const bad of this.#steps(handle, bytesPerSecond, signal)) {
          const failed = (faults.lastOf.get('open') ?? Number.NEGATIVE_INFINITY) >= sinceMs;
          if (bad.length > 0 && !failed && !node.machine.halfRead && !signal.aborted) {
            node.report(new Violation(`a scrub of a disk that is well finds ${described(bad)}`));
          }
          sinceMs = time.nowMs;
        }
      },
      'CLOSED',
    );
  }

  async *#steps(
    handle: VolumeHandle,
    bytesPerSecond: number,
    signal: AbortSignal,
  ): AsyncGenerator<readonly BadRange[], void, void> {
    const node = this.#node;
    const snapshotLayers = (): number[] => {
      const { history } = node.expectations;
      const layer = history.layers.get(node.clients.layerOf(handle) ?? 0);
      const volume = layer?.birth.volume;
      return history.snapshots().flatMap(({ id, birth }) => (birth.volume === volume ? [id] : []));
    };
    const request = { snapshotLayers, from: null, bytesPerSecond, signal };
    for await (const { bad } of handle.scrub(request)) yield bad;
  }

  /** Of a damaged disk: all that is damaged of what somebody shows, when `all`; and nothing that is not. */
  async finds(damaged: Damaged, all: boolean): Promise<void> {
    const node = this.#node;
    if (node.machine.store!.state !== 'ready') return;
    node.look();
    const { handles, snapshots } = node.clients;
    const found = new Set<string>();
    for (const handle of [...handles.values(), ...snapshots.values()]) {
      const { signal } = new AbortController();
      const scrub = this.#verbs.run('scrub', async () => {
        for await (const ranges of this.#steps(handle, FAST_BYTES_PER_SECOND, signal)) {
          for (const place of ranges.flatMap((range) => placesOf(range, handle.blockBytes))) {
            found.add(nameOf(place));
            if (damaged.map || !damaged.isWhole(place)) continue;
            throw new Violation(`a scrub finds ${described(ranges)}: nothing is damaged there`);
          }
        }
      });
      await node.until(scrub);
      node.throwViolation();
    }
    for (const place of all ? damaged.places : []) {
      if (!found.has(nameOf(place))) throw new Violation(`scrubs do not find the damage at ${nameOf(place)}`);
    }
    node.count('scrub of damage');
  }
}

/** Where the blocks of a range lie, one behind another; what the map cannot tell lies nowhere. */
function placesOf({ segment, fileOffset, lengthBytes }: BadRange, blockBytes: number): Place[] {
  const storedBytes = blockBytes + blockBytes / 64;
  const path = segment < 0 ? '' : join(JOURNAL_PATH, segmentName(segment));
  return Array.from({ length: lengthBytes / blockBytes }, (_, n) => ({
    path,
    offset: fileOffset + n * storedBytes,
    storedBytes,
  }));
}

function nameOf({ path, offset }: Place): string {
  return `${path} at ${offset}`;
}

function described(ranges: readonly BadRange[]): string {
  return ranges
    .map(({ layer, offsetBytes, lengthBytes, reason }) => `${offsetBytes}+${lengthBytes} of layer ${layer}: ${reason}`)
    .join(', ');
}

import { BlockReader } from '../../src/store/cleaner/block-reader.js';
import { SealingStream } from '../../src/store/cleaner/sealing-stream.js';
import type { Engine } from '../../src/store/engine.js';
import { LEAF_BLOCKS } from '../../src/store/limits.js';
import { LeafMoves } from '../../src/store/map/leaf-moves.js';
import type { MovedBlocks } from '../../src/store/map/moved-blocks.js';
import { SealingKeys, type SealingKey } from '../../src/store/sealing-keys.js';
import { Store } from '../../src/store/store.js';
import { Volume } from '../../src/volume/volume.js';
import type { ScrubProgress } from '../../src/volume/volume-scrub.js';
import { altered, replaced } from './sabotage-tools.js';
import { SEED_WITH_KEYS } from './script.js';
import type { Sabotage } from './simulated-machine.js';

/** Deliberate mistakes in what seals blocks anew, in what changes keys, and in scrubs. */
export const KEY_SABOTAGES: readonly Sabotage[] = [
  {
    name: 'blocks that are sealed anew are published without asking the map again',
    caughtBy: SEED_WITH_KEYS + 10,
    install: () =>
      relocatingSealed(
        (real) =>
          function (this: LeafMoves, layer, leaf, moved, places) {
            for (const place of places) {
              const entry = this.ownEntry(layer, leaf, moved.blocks[place] - leaf * LEAF_BLOCKS);
              if (entry > 0) moved.from[place] = entry;
            }
            return real.call(this, layer, leaf, moved, places);
          },
      ),
  },
  {
    name: 'a re-sealing takes a leaf for published of which nothing was',
    caughtBy: SEED_WITH_KEYS + 3,
    install: () => {
      let calls = 0;
      return relocatingSealed(
        (real) =>
          function (this: LeafMoves, layer, leaf, moved, places) {
            calls += 1;
            return calls % 3 === 0 ? places.length : real.call(this, layer, leaf, moved, places);
          },
      );
    },
  },
  {
    name: 'a re-sealing says that it is done although it has passed over a part of a layer',
    caughtBy: SEED_WITH_KEYS + 1,
    install: () => {
      const begun = new WeakSet<BlockReader>();
      return replaced(
        BlockReader.prototype,
        'keyNumbers',
        (real) =>
          async function (this: BlockReader, blocks, blockBytes) {
            const numbers = await real.call(this, blocks, blockBytes);
            // As if they were under some key that is not to go.
            if (!begun.has(this)) numbers.fill(0xffffffff);
            begun.add(this);
            return numbers;
          },
      );
    },
  },
  {
    name: 'blocks are sealed anew under the old key',
    caughtBy: SEED_WITH_KEYS + 1,
    install: () => {
      const held: SealingKey[] = [];
      const undo = [
        replaced(SealingKeys.prototype, 'letGo', () => () => undefined),
        replaced(
          SealingKeys.prototype,
          'hold',
          (real) =>
            function (this: SealingKeys, keyring, number) {
              const key = real.call(this, keyring, number);
              if (held.at(-1) !== key) held.push(key);
              return key;
            },
        ),
        replaced(
          SealingStream.prototype,
          'append',
          (real) =>
            function (this: SealingStream, blocks, from) {
              const keys = (): ReturnType<typeof blocks.keys> => {
                const { sealing, epoch } = blocks.keys();
                return { sealing: held[held.lastIndexOf(sealing) - 1] ?? sealing, epoch };
              };
              return real.call(this, { ...blocks, keys }, from);
            },
        ),
      ];
      return () => {
        for (const each of undo) each();
      };
    },
  },
  {
    name: 'blocks that are sealed anew are published before they are durable',
    caughtBy: SEED_WITH_KEYS + 1,
    install: () => replaced(SealingStream.prototype, 'sync', () => () => Promise.resolve()),
  },
  {
    name: 'a re-sealing says that it is done before the map is durable',
    caughtBy: SEED_WITH_KEYS + 9,
    install: () => {
      const engines = new WeakMap<Engine, Engine>();
      const hasty = (engine: Engine): Engine => {
        const checkpointer = altered(engine.checkpointer, { run: () => Promise.resolve() });
        const found = engines.get(engine) ?? { ...engine, checkpointer };
        engines.set(engine, found);
        return found;
      };
      return replaced(
        Store.prototype,
        'resealDependencies',
        (real) =>
          function (this: Store, head, demandOpen) {
            const dependencies = real.call(this, head, demandOpen);
            const store = async (): ReturnType<typeof dependencies.store> => {
              const { engine, cleaner } = await dependencies.store();
              return { engine: hasty(engine), cleaner };
            };
            return { ...dependencies, store };
          },
      );
    },
  },
  {
    name: 'a scrub goes on with the keys that it began with',
    caughtBy: SEED_WITH_KEYS + 12,
    install: () =>
      replaced(
        Store.prototype,
        'scrubDependencies',
        (real) =>
          function (this: Store, keyring) {
            let first: ReturnType<typeof keyring> | undefined;
            return real.call(this, () => (first ??= keyring()));
          },
      ),
  },
  {
    name: 'a scrub finds nothing',
    caughtBy: SEED_WITH_KEYS + 24,
    install: () => scrubbing((step) => ({ ...step, bad: [] })),
  },
  {
    name: 'a scrub names another place than the damaged one',
    caughtBy: SEED_WITH_KEYS + 24,
    install: () =>
      scrubbing((step) => ({
        ...step,
        bad: step.bad.map((range) => ({ ...range, fileOffset: range.fileOffset + range.lengthBytes })),
      })),
  },
];

/** Replaces how the map is told of moved blocks, for those that are sealed anew: the cleaner's are published as ever. */
function relocatingSealed(make: (real: LeafMoves['relocate']) => LeafMoves['relocate']): () => void {
  const sealed = new WeakSet<MovedBlocks>();
  const undo = [
    replaced(
      SealingStream.prototype,
      'append',
      (real) =>
        function (this: SealingStream, blocks, from) {
          sealed.add(blocks.moved);
          return real.call(this, blocks, from);
        },
    ),
    replaced(LeafMoves.prototype, 'relocate', (real) => {
      const other = make(real);
      return function (this: LeafMoves, layer, leaf, moved, places) {
        return (sealed.has(moved) ? other : real).call(this, layer, leaf, moved, places);
      };
    }),
  ];
  return () => {
    for (const each of undo) each();
  };
}

/** Alters what scrubs tell. */
function scrubbing(change: (step: ScrubProgress) => ScrubProgress): () => void {
  return replaced(
    Volume.prototype,
    'scrub',
    (real) =>
      async function* (this: Volume, request) {
        for await (const step of real.call(this, request)) yield change(step);
      },
  );
}

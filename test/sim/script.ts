import { SeededRandom } from '../base/seeded-random.js';
import { FAULT_CALLS, type Arm } from './fault-plan.js';

const KIB = 1024;
const MIB = 1024 * 1024;
/** Disk that the map's reserve takes before anything else. */
const RESERVE_BYTES = 64 * MIB;
/** From this seed on, scripts change keys, seal anew and scrub as well; else they are those of the seeds so much below. */
export const SEED_WITH_KEYS = 2 ** 32;

/** How often a process dies while it starts, and whether the power goes with it. */
export interface Death {
  readonly afterSteps: number;
  readonly power: boolean;
}

export const DAMAGES = [
  'payload',
  'block header',
  'record header',
  'segment header',
  'stale block',
  'other block',
  'map row',
  'lost sector',
  'bad sector',
] as const;
export type Damage = (typeof DAMAGES)[number];

/** Places are shares of 65536 of what there is, so that an operation means something whatever came before it. */
export type Action =
  | {
      readonly kind: 'write' | 'zeroes' | 'trim' | 'read';
      readonly volume: number;
      readonly at: number;
      readonly lengthBytes: number;
      readonly aligned: boolean;
      readonly fua: boolean;
    }
  | { readonly kind: 'flush'; readonly volume: number }
  | { readonly kind: 'sleep'; readonly ms: number }
  | { readonly kind: 'settle' }
  | { readonly kind: 'create'; readonly blockBytes: number; readonly blocks: number }
  | { readonly kind: 'drop' | 'reattach'; readonly volume: number }
  | { readonly kind: 'expand'; readonly volume: number; readonly blocks: number }
  | {
      readonly kind: 'freeze';
      readonly volume: number;
      /** How many volumes freeze together. */
      readonly group: number;
      readonly writes: boolean;
      readonly wait: boolean;
    }
  | { readonly kind: 'clone'; readonly snapshot: number; readonly blocks: number }
  | { readonly kind: 'revert'; readonly snapshot: number; readonly volume: number }
  | { readonly kind: 'discard'; readonly snapshot: number }
  | {
      readonly kind: 'look';
      readonly snapshot: number;
      readonly at: number;
      readonly lengthBytes: number;
      readonly write: boolean;
    }
  /** `encrypt`: under a new key from here on; else not encrypted any more. */
  | { readonly kind: 'rekey'; readonly volume: number; readonly encrypt: boolean; readonly wait: boolean }
  /** `end`: one that runs is ended. */
  | { readonly kind: 'reseal'; readonly volume: number; readonly end: boolean; readonly wait: boolean }
  | { readonly kind: 'scrub'; readonly volume: number; readonly bytesPerSecond: number; readonly wait: boolean }
  | { readonly kind: 'compare'; readonly quiet: boolean }
  | { readonly kind: 'checkpoint'; readonly wait: boolean }
  | { readonly kind: 'stop'; readonly power: boolean; readonly deaths: readonly Death[] }
  | { readonly kind: 'crash'; readonly afterSteps: number; readonly power: boolean; readonly deaths: readonly Death[] }
  | { readonly kind: 'fault'; readonly arm: Arm }
  | { readonly kind: 'fill'; readonly leaveBytes: number; readonly restart: 'no' | 'kill' | 'stop' }
  | { readonly kind: 'damage'; readonly what: Damage; readonly times: number; readonly checkpoint: boolean }
  | { readonly kind: 'image' }
  | { readonly kind: 'restore' }
  | { readonly kind: 'verify' };

/** One step. Its own seed makes its randomness independent of the steps around it, so that a trace can be shortened. */
export type Step = Action & { readonly id: number; readonly seed: number };

export interface ScriptOptions {
  readonly capacityBytes: number;
  readonly mapCacheBytes: number;
  readonly journalReplayBytesMax: number;
  readonly checkpointIntervalMs: number;
  readonly missPercent: number;
  /** Limit of the journal; beyond the disk: none. */
  readonly journalBytes: number;
  /** Off where the script damages the disk: a slot that is used again holds other blocks than the model knows. */
  readonly cleaning: boolean;
}

export interface Script {
  readonly seed: number;
  readonly options: ScriptOptions;
  /** It changes keys, seals anew and scrubs. */
  readonly keys: boolean;
  readonly steps: readonly Step[];
}

/** Kinds and how often they come, in thousandths; what is left are writes. */
const WEIGHTS: readonly (readonly [Action['kind'], number])[] = [
  ['read', 160],
  ['zeroes', 60],
  ['trim', 60],
  ['flush', 80],
  ['sleep', 60],
  ['settle', 50],
  ['create', 8],
  ['drop', 6],
  ['reattach', 6],
  ['expand', 10],
  ['freeze', 24],
  ['clone', 12],
  ['revert', 6],
  ['discard', 16],
  ['look', 16],
  ['compare', 10],
  ['checkpoint', 30],
  ['stop', 6],
  ['crash', 22],
  ['fault', 24],
  ['fill', 2],
  ['image', 4],
  ['restore', 4],
  ['verify', 6],
];

/** The script of a seed: the same one every time. */
export function makeScript(seed: number, length: number): Script {
  const random = new SeededRandom(seed);
  const options = {
    capacityBytes: RESERVE_BYTES + (random.below(5) === 0 ? 8 + random.below(12) : 160) * MIB,
    mapCacheBytes: (64 + random.below(128)) * KIB,
    journalReplayBytesMax: (2 + random.below(4)) * MIB,
    checkpointIntervalMs: [300, 2000, 30_000][random.below(3)],
    missPercent: [0, 5, 50][random.below(3)],
  };
  const calm = random.below(4) === 0;
  const steps: Step[] = [];
  const add = (action: Action): void => {
    steps.push({ ...action, id: steps.length, seed: 1 + random.below(2 ** 31 - 2) });
  };
  for (let n = 1 + random.below(3); n > 0; n -= 1) add(create(random));
  const damage = random.below(5) === 0;
  while (steps.length < length - (damage ? 1 : 0)) {
    const action = randomAction(random);
    if (calm && action.kind === 'fault') continue;
    add(action);
  }
  if (damage) {
    const what = DAMAGES[random.below(DAMAGES.length)];
    add({ kind: 'damage', what, times: 1 + random.below(4), checkpoint: random.below(2) === 0 });
  }
  // Drawn by itself: what a seed does otherwise stays the same. Without a cleaner nothing would come back under a limit.
  const limits = new SeededRandom(seed ^ 0x2545f491);
  const journalBytes = !damage && limits.below(3) === 0 ? (24 + limits.below(40)) * MIB : Number.POSITIVE_INFINITY;
  const keys = seed >= SEED_WITH_KEYS;
  return {
    seed,
    options: { ...options, journalBytes, cleaning: !damage },
    keys,
    steps: keys ? withKeySteps(steps, seed, !damage) : steps,
  };
}

/** The same steps, with others between them that have a randomness of their own. Blocks stay where they are without `cleaning`. */
function withKeySteps(steps: readonly Step[], seed: number, cleaning: boolean): Step[] {
  const random = new SeededRandom(seed ^ 0x3c6ef372);
  const mixed: Step[] = [];
  for (const step of steps) {
    while (random.below(11) === 0) {
      const action = keyAction(random);
      const own = { id: steps.length + mixed.length, seed: 1 + random.below(2 ** 31 - 2) };
      if (cleaning || action.kind !== 'reseal') mixed.push({ ...action, ...own });
    }
    mixed.push(step);
  }
  return mixed;
}

function keyAction(random: SeededRandom): Action {
  const choice = random.below(10);
  const volume = random.below(65_536);
  const wait = random.below(3) === 0;
  if (choice < 4) return { kind: 'rekey', volume, encrypt: random.below(4) > 0, wait };
  if (choice < 8) return { kind: 'reseal', volume, end: random.below(12) === 0, wait };
  return { kind: 'scrub', volume, bytesPerSecond: 2 ** (17 + random.below(12)), wait };
}

function create(random: SeededRandom): Action {
  const blockBytes = [4096, 4096, 8192, 16_384, 65_536][random.below(5)];
  const blocks = random.below(3) === 0 ? Math.floor((24 * MIB) / blockBytes) : 24 + random.below(300);
  return { kind: 'create', blockBytes, blocks };
}

function deathsOf(random: SeededRandom): Death[] {
  const count = random.below(3) === 0 ? 1 + random.below(3) : 0;
  return Array.from({ length: count }, () => ({ afterSteps: 1 + random.below(90), power: random.below(2) === 0 }));
}

function lengthOf(random: SeededRandom): number {
  const choice = random.below(100);
  if (choice < 60) return (1 + random.below(6)) * 4096;
  if (choice < 94) return (1 + random.below(40)) * 4096;
  return 300 * KIB + random.below(1500) * KIB;
}

function randomAction(random: SeededRandom): Action {
  let choice = random.below(1000);
  const kind = WEIGHTS.find(([, weight]) => (choice -= weight) < 0)?.[0] ?? 'write';
  const volume = random.below(65_536);
  switch (kind) {
    case 'write':
    case 'zeroes':
    case 'trim':
    case 'read':
      return {
        kind,
        volume,
        // Half of all requests meet each other near the beginning.
        at: random.below(2) === 0 ? random.below(65_536) : random.below(3000),
        lengthBytes: lengthOf(random),
        aligned: random.below(3) > 0,
        fua: random.below(10) === 0,
      };
    case 'flush':
    case 'drop':
    case 'reattach':
      return { kind, volume };
    case 'sleep':
      return { kind, ms: random.below(4) === 0 ? random.below(3000) : random.below(40) / 10 };
    case 'create':
      return create(random);
    case 'expand':
      return { kind, volume, blocks: 1 + random.below(400) };
    case 'freeze': {
      const group = random.below(2) === 0 ? 1 : 2 + random.below(3);
      return { kind, volume, group, writes: random.below(3) > 0, wait: random.below(2) === 0 };
    }
    case 'clone':
      return { kind, snapshot: volume, blocks: random.below(2) * (random.below(300) - 100) };
    case 'revert':
      return { kind, snapshot: volume, volume: random.below(65_536) };
    case 'discard':
      return { kind, snapshot: volume };
    case 'look': {
      const at = random.below(2) === 0 ? random.below(65_536) : random.below(3000);
      return { kind, snapshot: volume, at, lengthBytes: lengthOf(random), write: random.below(6) === 0 };
    }
    case 'compare':
      return { kind, quiet: random.below(3) > 0 };
    case 'checkpoint':
      return { kind, wait: random.below(3) === 0 };
    case 'stop':
      return { kind, power: random.below(2) === 0, deaths: deathsOf(random) };
    case 'crash':
      return {
        kind,
        afterSteps: 1 + random.below(random.below(2) === 0 ? 12 : 120),
        power: random.below(3) > 0,
        deaths: deathsOf(random),
      };
    case 'fault':
      return { kind, arm: armOf(random) };
    case 'fill':
      return {
        kind,
        leaveBytes: (2 + random.below(5)) * MIB,
        restart: (['no', 'kill', 'stop'] as const)[random.below(3)],
      };
    case 'damage':
    case 'rekey':
    case 'reseal':
    case 'scrub':
    case 'image':
    case 'restore':
    case 'settle':
    case 'verify':
      return { kind: kind === 'image' || kind === 'restore' || kind === 'settle' ? kind : 'verify' };
  }
}

function armOf(random: SeededRandom): Arm {
  // What is hardest to live through comes most.
  const call = random.below(3) === 0 ? 'sync' : FAULT_CALLS[random.below(FAULT_CALLS.length)];
  const full = (call === 'append' || call === 'allocate' || call === 'commit') && random.below(2) === 0;
  const arm: Arm = { call, skip: random.below(6), times: 1 + random.below(3), errno: full ? 'ENOSPC' : 'EIO' };
  // A start tries again a few times: some of these are over by then, some are not.
  return call === 'open' && arm.skip % 2 === 1 ? { ...arm, call: 'read', times: 2 * arm.times } : arm;
}

import { fileURLToPath } from 'node:url';
import type { Bed } from './bed.js';
import { availableBytes } from './machine.js';
import type { Peer } from './peer.js';
import type { Rounds } from './rounds.js';
import { workNamed, type Work } from './works.js';

const TOUCHER = fileURLToPath(new URL('touch-memory.mjs', import.meta.url));
const BYTES_MAX = 8 * 2 ** 30;
const SHARE = 0.6;
const LIMIT_MS = 180_000;
const WORK = 'rand-write-32';

export interface MemoryNote {
  /** Bytes that were touched before the rounds; 0: none. */
  readonly touchedBytes: number;
  /** What our encrypted class wrote before that, 4 KiB at random at depth 32; null: it was not measured. */
  readonly coldRate: number | null;
}

export interface Warming {
  readonly wanted: boolean;
  readonly works: readonly Work[];
  readonly peers: readonly Peer[];
  readonly say: (text: string) => void;
}

/**
 * Touches much of the free memory once. A virtual machine gets a page from its host when it is first touched, which
 * costs more than writing it, and whoever appends to a log always takes new pages. Our own writes are measured before
 * it as well, since nobody warms the memory of a machine that works.
 */
export async function warmed(bed: Bed, rounds: Rounds, warming: Warming): Promise<MemoryNote> {
  const { wanted, works, peers, say } = warming;
  if (!wanted || works.length === 0) return { touchedBytes: 0, coldRate: null };
  const ours = peers.find(({ name }) => name === 'galleon');
  const work = workNamed(WORK);
  let coldRate: number | null = null;
  if (ours !== undefined && works.includes(work)) {
    coldRate = (await rounds.measure(work, ours, 0)).rate;
    say(`before memory is touched: ${WORK} ${ours.name} ${Math.round(coldRate)} ${work.unit}`);
  }
  const touchedBytes = Math.min(BYTES_MAX, Math.floor(availableBytes() * SHARE));
  const startMs = performance.now();
  await bed.children.run(process.execPath, [TOUCHER, String(touchedBytes)], { limitMs: LIMIT_MS, cwd: bed.scratch });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  say(`touched ${(touchedBytes / 2 ** 30).toFixed(1)} GiB of memory in ${seconds} s`);
  return { touchedBytes, coldRate };
}

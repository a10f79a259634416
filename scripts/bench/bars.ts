/** What Galleon is held to. They are bars for people to look at, and no test depends on them. */

/** The median of one peer is at least `least` times that of another in the same work. */
export interface RatioBar {
  readonly work: string;
  readonly peer: string;
  readonly against: string;
  readonly least: number;
  /** Where we want to get beyond the bar; never counted as missed. */
  readonly goal?: boolean;
}

/** "Level with": a twentieth is within what rounds differ by. */
const LEVEL = 0.95;

function bars(
  peer: string,
  rows: readonly (readonly [work: string, against: string, least: number])[],
): readonly RatioBar[] {
  return rows.map(([work, against, least]) => ({ work, peer, against, least }));
}

export const RATIO_BARS: readonly RatioBar[] = [
  ...bars('galleon', [
    ['rand-read-32', 'nbdkit', 0.85],
    ['rand-read-32', 'qemu-raw', 3],
    ['rand-write-32', 'nbdkit', 3.5],
    ['rand-write-32', 'qemu-raw', 3.5],
    ['rand-read-1', 'qemu-raw', LEVEL],
    ['rand-write-1', 'qemu-raw', LEVEL],
    ['seq-read', 'qemu-raw', LEVEL],
    ['seq-read', 'qemu-luks', 4],
    ['seq-write', 'qemu-raw', LEVEL],
    ['seq-write', 'qemu-luks', 3.5],
    ['flush-1', 'nbdkit', LEVEL],
  ]),
  ...bars('galleon-plain', [['rand-read-32', 'nbdkit', LEVEL]]),
  { work: 'rand-read-32', peer: 'galleon', against: 'nbdkit', least: 1, goal: true },
  { work: 'rand-write-32', peer: 'galleon', against: 'nbdkit', least: 5, goal: true },
];

/** What Galleon is held to by itself. */
export const BARS = {
  /** 1,000 volumes: from the start of the process until it serves. */
  startMs: 2000,
  recoveryMsPerGib: 1000,
  /** Of one core. */
  idleCpuShare: 0.005,
  idleBytes: 120 * 2 ** 20,
  terabyteBytesAboveCache: 100 * 2 ** 20,
  /** The 99.9th percentile of writes while a checkpoint runs: at most this, or so many times what it is otherwise. */
  checkpointMs: 10,
  checkpointFactor: 2,
  /** Of the rate of the first half minute. */
  sustainedShare: 0.7,
  /** Processor time of a read with very many snapshots, as a multiple of that with one. */
  manySnapshotsFactor: 1.1,
  /** Bytes appended, for clients and by the cleaner, as a multiple of what clients wrote: 80% of the journal live. */
  amplification: 3.5,
  /** The same with nine in ten writes to a tenth of the volume. */
  skewedAmplification: 2.2,
  /** Of the rate of a fresh store. */
  cleaningShare: 0.35,
  /** From the deletion of half of the data until the file system has its space. */
  spaceBackMs: 60_000,
  /** Bytes on disk beyond four segments, as a multiple of live ones, while nobody writes. */
  idleGarbage: 1.3,
  idleSegments: 4,
  /** A trim of all of a fresh 16 TiB volume. */
  freshTrimMs: 1000,
  /** The highest latency of one reader, and of one writer, while another volume is trimmed whole. */
  trimNeighbourMs: 10,
} as const;

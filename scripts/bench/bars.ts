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

/** One bar with what was measured. */
export interface Verdict {
  readonly what: string;
  readonly bar: string;
  readonly value: string;
  readonly met: boolean;
  readonly goal: boolean;
}

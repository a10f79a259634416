import { RATIO_BARS } from './bars.js';
import type { Verdict } from './figure.js';
import type { Row } from './rounds.js';
import { median, ratio } from './statistics.js';

/** The bars of those works and peers that were measured. */
export function ratioVerdicts(rows: readonly Row[]): Verdict[] {
  const rateOf = (work: string, peer: string): number | null => {
    const row = rows.find((each) => each.work.name === work && each.peer.name === peer);
    return row === undefined ? null : median(row.measurements.map(({ rate }) => rate));
  };
  const verdicts: Verdict[] = [];
  for (const { work, peer, against, least, goal = false } of RATIO_BARS) {
    const ours = rateOf(work, peer);
    const theirs = rateOf(work, against);
    if (ours === null || theirs === null) continue;
    const value = ratio(ours, theirs);
    verdicts.push({
      ...{ what: `${work}: ${peer} / ${against}`, bar: `>= ${least.toFixed(2)}`, value: value.toFixed(2) },
      ...{ met: value >= least, goal, figure: value },
    });
  }
  return verdicts;
}

import type { Verdict } from './bars.js';
import { cpuSecondsPerGib } from './measurement.js';
import type { Peer } from './peer.js';
import { formatRate, type Row } from './rounds.js';
import { median, ratio, spread } from './statistics.js';
import type { Table } from './table.js';
import type { Work } from './works.js';

type Figure = (row: Row, rows: readonly Row[]) => string;

const medianRate = (row: Row): number => median(row.measurements.map(({ rate }) => rate));

/** Works downwards, peers to the right. */
function grid(rows: readonly Row[], figure: Figure, worksShown: (work: Work) => boolean = () => true): Table {
  const peers = [...new Set(rows.map(({ peer }) => peer))];
  const works = [...new Set(rows.map(({ work }) => work))].filter(worksShown);
  const cell = (work: Work, peer: Peer): string => {
    const row = rows.find((each) => each.work === work && each.peer === peer);
    return row === undefined ? '' : figure(row, rows);
  };
  return {
    head: ['', ...peers.map(({ title }) => title)],
    rows: works.map((work) => [`${work.title}, ${work.unit}`, ...peers.map((peer) => cell(work, peer))]),
  };
}

/** Medians of the rounds. */
export function rateTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => formatRate(medianRate(row)));
}

/** The encrypted class as a multiple of everybody else; null where it was not measured. */
export function ratioTable(rows: readonly Row[]): Table | null {
  const ours = rows.filter(({ peer }) => peer.name === 'galleon');
  const others = rows.filter(({ peer }) => peer.name !== 'galleon');
  if (ours.length === 0 || others.length === 0) return null;
  return grid(others, (row) => {
    const own = ours.find(({ work }) => work === row.work);
    return own === undefined ? '' : ratio(medianRate(own), medianRate(row)).toFixed(2);
  });
}

/** Processor seconds of the server per GiB that crossed the socket. */
export function cpuTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => median(row.measurements.map(cpuSecondsPerGib)).toFixed(2));
}

/** How far the rounds lie apart, in percent of the median: what a difference has to exceed to mean anything. */
export function spreadTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => `${Math.round(100 * spread(row.measurements.map(({ rate }) => rate)))}%`);
}

export function latencyTable(rows: readonly Row[]): Table {
  return grid(rows, (row) => {
    const p99 = median(row.measurements.map(({ p99Us }) => p99Us));
    const p999 = median(row.measurements.map(({ p999Us }) => p999Us));
    return `${formatRate(p99)} / ${formatRate(p999)}`;
  });
}

export function verdictTable(verdicts: readonly Verdict[]): Table {
  return {
    head: ['bar', 'wanted', 'measured', ''],
    rows: verdicts.map(({ what, bar, value, met, goal }) => {
      const missed = goal ? 'not yet' : 'MISSED';
      return [goal ? `${what} (goal)` : what, bar, value, met ? 'met' : missed];
    }),
  };
}

import type { Bed } from './bed.js';
import { BenchError } from './bench-error.js';

/** One line of the table of bars: what was measured, and what it is held to. */
export interface Verdict {
  readonly what: string;
  /** '': nothing is asked of it. */
  readonly bar: string;
  readonly value: string;
  /** null: nothing is asked of it. */
  readonly met: boolean | null;
  /** Where we want to get beyond the bar; never counted as missed. */
  readonly goal: boolean;
  /** The bare figure, for those who compare runs. */
  readonly figure: number;
}

export interface FigureRun {
  readonly bed: Bed;
  readonly sizeBytes: number;
  /** Of one measurement. */
  readonly seconds: number;
  /** Of each of the two workloads of the cleaner. */
  readonly cleanerSeconds: number;
  /** Show that it works, measure nothing. */
  readonly quick: boolean;
  readonly say: (text: string) => void;
}

/** Programs of the operating system: keys of the requirements in programs.ts. */
export type Need = 'fio' | 'qemu' | 'libnbd';

/** What is measured of Galleon alone, or beside others in a way that the works have no row for. */
export interface Figure {
  /** What `--only` takes. */
  readonly name: string;
  readonly title: string;
  /** Programs that it starts beside our daemon. */
  readonly needs: readonly Need[];
  readonly run: (run: FigureRun) => Promise<Verdict[]>;
}

/** A figure that must not exceed its bar. Throws BenchError for one that is not above zero. */
export function atMost(what: string, figure: number, bar: number, shown: (figure: number) => string): Verdict {
  assertFigure(what, figure);
  return { what, figure, value: shown(figure), bar: `<= ${shown(bar)}`, met: figure <= bar, goal: false };
}

export function atLeast(what: string, figure: number, bar: number, shown: (figure: number) => string): Verdict {
  assertFigure(what, figure);
  return { what, figure, value: shown(figure), bar: `>= ${shown(bar)}`, met: figure >= bar, goal: false };
}

/** A figure that is only told. */
export function told(what: string, figure: number, shown: (figure: number) => string): Verdict {
  assertFigure(what, figure);
  return { what, figure, value: shown(figure), bar: '', met: null, goal: false };
}

function assertFigure(what: string, figure: number): void {
  if (!Number.isFinite(figure) || figure <= 0) throw new BenchError(`galleon: ${what} is ${figure}: that is no figure`);
}

export const showMs = (ms: number): string => (ms < 100 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`);
export const showMib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
export const showTimes = (factor: number): string => `${factor.toFixed(2)} times`;
export const showPercent = (share: number): string => `${(share * 100).toFixed(share < 0.1 ? 2 : 0)}%`;

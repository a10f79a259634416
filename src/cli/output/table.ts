import Table from 'cli-table3';
import { cutText, printable, textWidth } from './text-width.js';

export interface Column<Row> {
  readonly title: string;
  readonly value: (row: Row) => string;
  readonly align?: 'left' | 'right';
  /** Columns with a higher number are left out first when the terminal is narrow; 0 (default) always stays. */
  readonly dropOrder?: number;
  /** May be cut down to this many columns. Without it the column keeps its width. */
  readonly widthMin?: number;
  /** Colours a cell, after it was cut. */
  readonly paint?: (text: string, row: Row) => string;
}

const GAP = 2;
const BORDERLESS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' '.repeat(GAP),
};

interface Plan<Row> {
  readonly column: Column<Row>;
  readonly cells: readonly string[];
  width: number;
}

/**
 * Rows under headings, without borders. With a `width`, columns are left out (highest `dropOrder` first) and then cut
 * (the widest first) until a line fits it; without one (not a terminal) nothing is lost.
 */
export function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width: number | undefined,
): string {
  let plans = columns.map((column): Plan<Row> => {
    const cells = rows.map((row) => printable(column.value(row)));
    return { column, cells, width: Math.max(textWidth(column.title), ...cells.map(textWidth)) };
  });
  if (width !== undefined) {
    plans = leaveOut(plans, width);
    shrink(plans, width);
  }
  // The style is cleared: the library colours heads and borders also where nobody asked for colour.
  const table = new Table({
    head: plans.map((plan) => cutText(plan.column.title, plan.width)),
    chars: BORDERLESS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: plans.map((plan) => plan.column.align ?? 'left'),
  });
  rows.forEach((row, index) => {
    table.push(plans.map((plan) => paintCell(plan, row, plan.cells[index] ?? '')));
  });
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

function leaveOut<Row>(plans: readonly Plan<Row>[], width: number): Plan<Row>[] {
  let kept = [...plans];
  for (;;) {
    const least = kept.map((plan) => Math.min(plan.width, plan.column.widthMin ?? plan.width));
    if (lineWidth(least) <= width) return kept;
    const victim = Math.max(0, ...kept.map((plan) => plan.column.dropOrder ?? 0));
    if (victim === 0) return kept;
    kept = kept.filter((plan) => (plan.column.dropOrder ?? 0) !== victim);
  }
}

function shrink<Row>(plans: readonly Plan<Row>[], width: number): void {
  let excess = lineWidth(plans.map((plan) => plan.width)) - width;
  while (excess > 0) {
    const shrinkable = plans.filter((plan) => plan.width > (plan.column.widthMin ?? plan.width));
    const widest = shrinkable.sort((left, right) => right.width - left.width)[0];
    if (widest === undefined) break;
    widest.width--;
    excess--;
  }
  // A window narrower than the least that makes sense: cut whatever is widest.
  while (excess > 0) {
    const widest = [...plans].sort((left, right) => right.width - left.width)[0];
    if (widest === undefined || widest.width <= 1) return;
    widest.width--;
    excess--;
  }
}

function lineWidth(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width, 0) + GAP * Math.max(0, widths.length - 1);
}

function paintCell<Row>(plan: Plan<Row>, row: Row, cell: string): string {
  const cut = cutText(cell, plan.width);
  return plan.column.paint === undefined ? cut : plan.column.paint(cut, row);
}

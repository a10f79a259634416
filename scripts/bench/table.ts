/** Tables of text: the first column stands left, figures stand right. */

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** For a terminal. Every line has as many cells as the head. */
export function textTable(table: Table): string {
  const widths = columnWidths(table);
  const line = (cells: readonly string[]): string => {
    const padded = widths.map((width, at) => {
      const cell = cells[at] ?? '';
      return at === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    return padded.join('  ').trimEnd();
  };
  return [line(table.head), widths.map((width) => '-'.repeat(width)).join('  '), ...table.rows.map(line)].join('\n');
}

/** For a README, padded as prettier would. */
export function markdownTable(table: Table): string {
  const escaped = (cells: readonly string[]): string[] => cells.map((cell) => cell.replaceAll('|', '\\|'));
  const head = escaped(table.head);
  const rows = table.rows.map(escaped);
  const widths = columnWidths({ head, rows }).map((width) => Math.max(width, 3));
  const line = (cells: readonly string[]): string => {
    const padded = widths.map((width, at) => {
      const cell = cells[at] ?? '';
      return at === 0 ? cell.padEnd(width) : cell.padStart(width);
    });
    return `| ${padded.join(' | ')} |`;
  };
  const rule = widths.map((width, at) => (at === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(head), `| ${rule.join(' | ')} |`, ...rows.map(line)].join('\n');
}

function columnWidths(table: Table): number[] {
  return table.head.map((head, at) => Math.max(head.length, ...table.rows.map((row) => (row[at] ?? '').length)));
}

import { stringify } from 'yaml';
import type { DiffRange } from '../../ipc/generated/snapshots.js';
import { command } from '../command.js';
import type { Output } from '../output/output.js';

export const volumeDiff = command({
  verb: ['volume', 'diff'],
  summary: 'list the ranges that changed between two snapshots, or up to now',
  details:
    'With one word, everything that it holds is listed. VOLUME alone is the volume as it is now. A clone is compared\n' +
    'with the snapshot that it was made from in the same way. A range that is listed may hold what it held before.\n' +
    'Examples:\n  gfs volume diff data@monday data@tuesday\n  gfs volume diff data@tuesday data -o json',
  words: {
    from: { summary: 'VOLUME@SNAPSHOT, or VOLUME', required: true, completes: 'point' },
    to: { summary: 'the later one', completes: 'point' },
  },
  options: {},
  async run({ from, to }, _options, session) {
    const request = to === undefined ? { from: '', to: from } : { from, to };
    const pages = (await session.client()).snapshots.diff(request);
    const list = new RangeList(session.output);
    for await (const { ranges } of pages) for (const range of ranges) list.add(range);
    list.end();
  },
});

/** One array, or one table, that is written while it comes: a large volume has more ranges than one wants to hold. */
class RangeList {
  readonly #output: Output;
  #count = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  add({ offsetBytes, lengthBytes, data }: DiffRange): void {
    const view = { offsetBytes, lengthBytes, data };
    const { format } = this.#output;
    if (format === 'json') this.#output.line(`${this.#count === 0 ? '[' : ','}\n  ${JSON.stringify(view)}`.trimStart());
    else if (format === 'yaml') this.#output.line(stringify([view]).trimEnd());
    else {
      if (this.#count === 0) this.#output.line(row('OFFSET', 'LENGTH', 'NOW'));
      this.#output.line(row(String(offsetBytes), String(lengthBytes), data ? 'data' : 'zeros'));
    }
    this.#count += 1;
  }

  end(): void {
    const { format } = this.#output;
    if (format === 'json') this.#output.line(this.#count === 0 ? '[]' : ']');
    else if (this.#count === 0) this.#output.line(format === 'yaml' ? '[]' : 'nothing has changed');
  }
}

function row(offset: string, length: string, now: string): string {
  return `${offset.padStart(16)}  ${length.padStart(16)}  ${now}`;
}

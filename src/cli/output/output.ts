import { stringify } from 'yaml';
import colours from 'picocolors';
import type { Sink } from '../world.js';
import { type Column, renderTable } from './table.js';

export type OutputFormat = 'table' | 'json' | 'yaml';

export interface OutputOptions {
  readonly format: OutputFormat;
  readonly stdout: Sink;
  readonly stderr: Sink;
  readonly colour: boolean;
}

export type Colours = ReturnType<typeof colours.createColors>;

/** Where answers go: standard output carries the answer and nothing else, standard error what is said about it. */
export class Output {
  readonly format: OutputFormat;
  readonly colours: Colours;
  readonly #stdout: Sink;
  readonly #stderr: Sink;
  #samples = 0;

  constructor(options: OutputOptions) {
    this.format = options.format;
    this.#stdout = options.stdout;
    this.#stderr = options.stderr;
    this.colours = colours.createColors(options.colour);
  }

  /** Width to fit tables into; undefined when nobody looks. */
  get width(): number | undefined {
    return this.#stdout.columns;
  }

  /** One answer: `value` for programs, `text` for people. */
  answer(value: unknown, text: () => string): void {
    if (this.format === 'json') this.line(JSON.stringify(value, null, 2));
    else if (this.format === 'yaml') this.#stdout.write(stringify(value));
    else this.line(text());
  }

  /** One of many answers that come as time goes by: a JSON text a line, a YAML document each, or a text. */
  sample(value: unknown, text: () => string): void {
    if (this.format === 'json') this.line(JSON.stringify(value));
    else if (this.format === 'yaml') this.#stdout.write(`${this.#samples === 0 ? '' : '---\n'}${stringify(value)}`);
    else this.line(text());
    this.#samples++;
  }

  table<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
    return renderTable(columns, rows, this.width);
  }

  /** Name and value, one a line. Empty values are left out. */
  facts(pairs: readonly (readonly [string, string])[]): string {
    const columns: Column<readonly [string, string]>[] = [
      { title: '', value: ([name]) => name },
      { title: '', value: ([, value]) => value, widthMin: 20 },
    ];
    const rows = pairs.filter(([, value]) => value !== '');
    return renderTable(columns, rows, undefined).split('\n').slice(1).join('\n');
  }

  line(text: string): void {
    this.#stdout.write(`${text}\n`);
  }

  /** Something that people should know, beside the answer. */
  note(text: string): void {
    this.#stderr.write(`gfs: ${text}\n`);
  }
}

import yargs, { type Argv } from 'yargs';
import { usageError } from './cli-error.js';
import type { Command, UntypedValues } from './command.js';
import { GLOBAL_OPTIONS, type GlobalValues } from './global-options.js';
import type { OptionSpec, OptionSpecs, WordSpecs } from './option-spec.js';
import { suggestion } from './suggest.js';

export type ParsedLine =
  | { readonly kind: 'help'; readonly verb: readonly string[] }
  | { readonly kind: 'version' }
  | {
      readonly kind: 'run';
      readonly command: Command;
      readonly words: UntypedValues;
      readonly options: UntypedValues;
      readonly globals: GlobalValues;
    };

/** What yargs leaves behind for us: values by option name, and the plain words under `_`. */
type RawValues = Record<string, unknown> & { readonly _: (string | number)[] };

/**
 * Takes a command line apart. yargs splits options from words and finds the verb; what is allowed is checked here,
 * against the same table that help and completion are made of. Throws USAGE.
 */
export function parseCommandLine(argv: readonly string[], commands: readonly Command[]): ParsedLine {
  if (argv[0] === 'help') return { kind: 'help', verb: argv.slice(1).filter((word) => !word.startsWith('-')) };
  if (argv[0] === '--version' || argv[0] === '-V') return { kind: 'version' };

  let found: Command | undefined;
  let raw: RawValues | undefined;
  const record = (values: object): void => {
    raw = values as RawValues;
  };
  // First: switching yargs' own help off forgets an option of that name, and ours has it.
  const parser = yargs([]).help(false).version(false).exitProcess(false).fail(false).parserConfiguration({
    'boolean-negation': false,
    'camel-case-expansion': false,
    'dot-notation': false,
    'greedy-arrays': false,
    'parse-numbers': false,
    'parse-positional-numbers': false,
    'strip-aliased': true,
  });
  addOptions(parser, GLOBAL_OPTIONS);
  addCommands(parser, commands, 0, (command, values) => {
    found = command;
    record(values);
  });
  parser.command('$0', false, {}, record);
  // Every handler is synchronous, and so is the parser then.
  parser.parseSync(argv.map(splitShortOutput));

  const values: RawValues = raw ?? { _: [] };
  const words = values._.map(String);
  if (found === undefined) {
    // Help for a group (`gfs volume --help`), also when options are wrong beside it.
    if (words.length === 0 || values['help'] === true) return { kind: 'help', verb: words };
    if (words.at(-1) === 'help') return { kind: 'help', verb: words.slice(0, -1) };
    throw unknownVerb(words, commands);
  }
  if (values['help'] === true) return { kind: 'help', verb: found.verb };
  refuseUnknownOptions(values, found);
  return {
    kind: 'run',
    command: found,
    words: takeWords(words.slice(found.verb.length), found),
    options: takeOptions(values, found.options),
    globals: takeOptions(values, GLOBAL_OPTIONS) as GlobalValues,
  };
}

/** `gfs volume create NAME`, for messages. */
export function usageLine(command: Command): string {
  return ['gfs', ...command.verb, ...wordPlaceholders(command.words)].join(' ');
}

/** `NAME`, `[NAME]` where it may be left out, `NAME...` where it takes all that follow. */
export function wordPlaceholders(words: WordSpecs): string[] {
  return Object.entries(words).map(([name, spec]) => {
    const text = name.toUpperCase() + (spec.many === true ? '...' : '');
    return spec.required === true ? text : `[${text}]`;
  });
}

function addOptions(parser: Argv, options: OptionSpecs): Argv {
  for (const [name, spec] of Object.entries(options)) {
    const alias = spec.alias === undefined ? {} : { alias: spec.alias };
    if (spec.kind === 'flag') parser.option(name, { ...alias, type: 'boolean' });
    else parser.option(name, { ...alias, type: 'string', array: spec.kind === 'texts' });
  }
  return parser;
}

/** Adds the verbs at one depth; a word that several commands share becomes a group. */
function addCommands(
  parser: Argv,
  commands: readonly Command[],
  depth: number,
  record: (command: Command | undefined, values: object) => void,
): void {
  for (const word of new Set(commands.map((command) => command.verb[depth] ?? ''))) {
    const under = commands.filter((command) => command.verb[depth] === word);
    const leaf = under.find((command) => command.verb.length === depth + 1);
    parser.command(
      word,
      false,
      (child) => {
        const inner = under.filter((command) => command.verb.length > depth + 1);
        if (inner.length > 0) addCommands(child, inner, depth + 1, record);
        if (leaf !== undefined) addOptions(child, leaf.options);
      },
      (values) => {
        record(leaf, values);
      },
    );
  }
}

/** `-ojson` is what users of kubectl type. */
function splitShortOutput(argument: string): string {
  return /^-o(?:table|json|yaml)$/.test(argument) ? `--output=${argument.slice(2)}` : argument;
}

function unknownVerb(words: readonly string[], commands: readonly Command[]): Error {
  let depth = 0;
  let level = commands.filter((command) => command.hidden !== true);
  while (depth < words.length) {
    const next = level.filter((command) => command.verb[depth] === words[depth]);
    if (next.length === 0) break;
    level = next;
    depth++;
  }
  const group = ['gfs', ...words.slice(0, depth)].join(' ');
  const known = [...new Set(level.map((command) => command.verb[depth] ?? ''))];
  const word = words[depth];
  if (word === undefined) return usageError(`${group} needs a verb: ${known.join(', ')}`);
  return usageError(`${group} has no verb "${word}"${suggestion(word, known, `\`${group} --help\` lists them`)}`);
}

function refuseUnknownOptions(values: RawValues, command: Command): void {
  const known = new Map<string, OptionSpec>([...Object.entries(GLOBAL_OPTIONS), ...Object.entries(command.options)]);
  const line = ['gfs', ...command.verb].join(' ');
  for (const name of Object.keys(values)) {
    if (name === '_' || name === '$0' || known.has(name)) continue;
    const typed = name.length === 1 ? `-${name}` : `--${name}`;
    const options = [...known.keys()].map((option) => `--${option}`);
    throw usageError(`${line} has no option ${typed}${suggestion(typed, options, `\`${line} --help\` lists them`)}`);
  }
}

function takeWords(given: readonly string[], command: Command): UntypedValues {
  const taken: Record<string, string | readonly string[] | undefined> = {};
  let rest = given;
  for (const [name, spec] of Object.entries(command.words)) {
    const word = rest[0];
    if (word === undefined && spec.required === true) {
      throw usageError(`${name.toUpperCase()} is missing (${spec.summary}): ${usageLine(command)}`);
    }
    if (spec.many === true) {
      taken[name] = rest;
      rest = [];
      continue;
    }
    if (word !== undefined && spec.choices !== undefined && !spec.choices.includes(word)) {
      throw usageError(`${name.toUpperCase()} is one of ${spec.choices.join(', ')}, not "${word}"`);
    }
    taken[name] = word;
    rest = rest.slice(1);
  }
  if (rest[0] !== undefined) throw usageError(`"${rest[0]}" is one word too many: ${usageLine(command)}`);
  return taken;
}

function takeOptions(values: RawValues, specs: OptionSpecs): UntypedValues {
  const taken: Record<string, boolean | string | readonly string[] | undefined> = {};
  for (const [name, spec] of Object.entries(specs)) taken[name] = takeOption(name, spec, values[name]);
  return taken;
}

function takeOption(name: string, spec: OptionSpec, value: unknown): boolean | string | readonly string[] | undefined {
  if (spec.kind === 'flag') {
    // Repeating a flag changes nothing.
    return Array.isArray(value) ? value.includes(true) : value === true;
  }
  if (spec.kind === 'texts') {
    const texts = value === undefined ? [] : (value as string[]);
    for (const text of texts.length === 0 && value !== undefined ? [''] : texts) needValue(name, spec, text);
    return texts;
  }
  if (value === undefined) return undefined;
  if (Array.isArray(value)) throw usageError(`--${name} is given ${String(value.length)} times; once is enough`);
  const text = value as string;
  if (spec.kind === 'text') needValue(name, spec, text);
  if (spec.choices !== undefined && !spec.choices.includes(text)) {
    throw usageError(`--${name} is one of ${spec.choices.join(', ')}, not "${text}"`);
  }
  return text;
}

function needValue(name: string, spec: OptionSpec, text: string): void {
  if (text === '') throw usageError(`--${name} needs a value: --${name} ${spec.value ?? 'VALUE'}`);
}

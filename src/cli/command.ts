import type { Session } from './session.js';

/** What can stand in a place of the command line, for completion. */
export type Subject = 'volume' | 'retained-volume' | 'storage-class' | 'file';

export interface OptionSpec {
  /** `flag` takes no value, `text` one, `texts` may be repeated, `optional-text` may stand without its value (then ''). */
  readonly kind: 'flag' | 'text' | 'texts' | 'optional-text';
  readonly alias?: string;
  readonly summary: string;
  /** Placeholder of the value in help. */
  readonly value?: string;
  readonly choices?: readonly string[];
  readonly completes?: Subject;
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface WordSpec {
  readonly summary: string;
  readonly required?: boolean;
  /** Takes all words that are left. Last one only. */
  readonly many?: boolean;
  readonly completes?: Subject;
  readonly choices?: readonly string[];
}
export type WordSpecs = Readonly<Record<string, WordSpec>>;

export type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: O[K]['kind'] extends 'flag'
    ? boolean
    : O[K]['kind'] extends 'texts'
      ? readonly string[]
      : string | undefined;
};

export type WordValues<W extends WordSpecs> = {
  readonly [K in keyof W]: W[K] extends { many: true }
    ? readonly string[]
    : W[K] extends { required: true }
      ? string
      : string | undefined;
};

export interface CommandSpec<W extends WordSpecs, O extends OptionSpecs> {
  /** `['volume', 'create']`. */
  readonly verb: readonly string[];
  readonly summary: string;
  /** Paragraphs and examples below the options in help. */
  readonly details?: string;
  /** Not shown in help and completion. */
  readonly hidden?: boolean;
  readonly words: W;
  readonly options: O;
  /** Resolves to the exit status; nothing means 0. */
  run(words: WordValues<W>, options: OptionValues<O>, session: Session): Promise<number | undefined>;
}

/** A command whose own types are forgotten, as the parser and the help see it. */
export type Command = Omit<CommandSpec<WordSpecs, OptionSpecs>, 'run'> & {
  run(words: UntypedValues, options: UntypedValues, session: Session): Promise<number | undefined>;
};
export type UntypedValues = Readonly<Record<string, boolean | string | readonly string[] | undefined>>;

/** Ties the types of a command's words and options to its `run`. */
export function command<const W extends WordSpecs, const O extends OptionSpecs>(spec: CommandSpec<W, O>): Command {
  return {
    ...spec,
    // The parser builds exactly the values that the specs describe; this is where that promise is cashed.
    run: (words, options, session) => spec.run(words as WordValues<W>, options as OptionValues<O>, session),
  };
}

/** Options that every command takes, before or after its verb. */
export const GLOBAL_OPTIONS = {
  output: {
    kind: 'text',
    alias: 'o',
    summary: 'how to show the answer',
    value: 'FORMAT',
    choices: ['table', 'json', 'yaml'],
  },
  'daemon-address': { kind: 'text', summary: 'which daemon to ask (GFS_DAEMON_ADDRESS)', value: 'HOST:PORT' },
  'token-file': {
    kind: 'text',
    summary: 'file that holds its token (GFS_TOKEN_FILE)',
    value: 'FILE',
    completes: 'file',
  },
  timeout: { kind: 'text', summary: 'how long an answer may take, such as 30s', value: 'DURATION' },
  'no-color': { kind: 'flag', summary: 'no colours, also on a terminal (NO_COLOR)' },
  help: { kind: 'flag', alias: 'h', summary: 'show this help' },
} as const satisfies OptionSpecs;

export type GlobalValues = OptionValues<typeof GLOBAL_OPTIONS>;

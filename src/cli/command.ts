import type { OptionSpecs, OptionValues, WordSpecs, WordValues } from './option-spec.js';
import type { Session } from './session.js';

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

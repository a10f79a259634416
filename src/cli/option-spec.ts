/** What can stand in a place of the command line, for completion. */
/** `point`: a volume or a snapshot. */
export type Subject = 'volume' | 'retained-volume' | 'storage-class' | 'qos-policy' | 'file' | 'snapshot' | 'point';

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

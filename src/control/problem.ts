/** Something that needs a person, or that is being tried again. */
export interface Problem {
  /** `volume web-data`, `store`, `keys`. */
  readonly subject: string;
  readonly reason: string;
  /** What to do about it. */
  readonly remedy: string;
  readonly lastError: string;
  /** Wall clock, milliseconds since 1970; 0: not tried again by itself. */
  readonly nextTryMs: number;
}

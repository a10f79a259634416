/**
 * An error with a closed set of codes that carry data. Each room derives one class from it; nobody reads `message`
 * to decide anything, and the edge (NBD, control API) translates `fault.code` once.
 */
export abstract class FaultError<F extends { readonly code: string }> extends Error {
  readonly fault: F;

  constructor(message: string, fault: F, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }

  get code(): F['code'] {
    return this.fault.code;
  }
}

/** The text of anything that was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** The text of anything that was thrown, with where it was when there is that: for mistakes of ours, in the log. */
export function stackOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
}

/** The errno name (`ENOENT`, ...) of a thrown system error, or '' when it has none. */
export function errnoOf(thrown: unknown): string {
  if (thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string') return thrown.code;
  return '';
}

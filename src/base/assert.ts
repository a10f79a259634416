/** Thrown when our own code broke one of its rules. Input from a socket or a disk is reported, never asserted. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** States a rule that our code keeps. Stays on in production: going on after a broken rule is how data is lost. */
export function assert(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new AssertionError(rule);
}

/** Marks a branch that the types have excluded. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable value ${String(value)}`);
}

/** The run cannot go on, for a reason that one line says to whoever started it. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}

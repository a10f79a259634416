import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';

/** Asks on a terminal for something that must not be seen: nothing of the answer is shown. Rejects when `signal` is aborted. */
export async function askHidden(
  question: string,
  input: NodeJS.ReadableStream,
  output: NodeJS.WritableStream,
  signal: AbortSignal,
): Promise<string> {
  const nowhere = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  output.write(question);
  // `terminal` switches the echo of the terminal off, and what readline shows instead goes nowhere.
  const prompt = createInterface({ input, output: nowhere, terminal: true });
  try {
    return await prompt.question('', { signal });
  } finally {
    prompt.close();
    output.write('\n');
  }
}

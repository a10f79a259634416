import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FOLDER = fileURLToPath(new URL('corpus/', import.meta.url));
const BYTES_MAX = 256 * 1024;

export interface CorpusInput {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** The inputs that are kept for one decoder, or `sessions`: what clients sent to an NBD server. In order of their names. */
export function corpusOf(subject: string): CorpusInput[] {
  const folder = join(FOLDER, subject);
  const inputs = readdirSync(folder)
    .sort()
    .map((name) => ({ name, bytes: new Uint8Array(readFileSync(join(folder, name))) }));
  if (inputs.length === 0) throw new Error(`the corpus has nothing for ${subject}`);
  return inputs;
}

/** Keeps an input; it is replayed from now on. */
export function keepInCorpus(subject: string, name: string, bytes: Uint8Array): void {
  if (bytes.length > BYTES_MAX) return;
  mkdirSync(join(FOLDER, subject), { recursive: true });
  writeFileSync(join(FOLDER, subject, name), bytes);
}

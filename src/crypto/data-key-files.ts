/** The folder `keys/data`: one wrapped data key a file, named by its number. */
import { join } from 'node:path';
import { messageOf } from '../base/errors.js';
import { FileError } from '../io/file-error.js';
import type { Files } from '../io/files.js';
import { CryptoError } from './crypto-error.js';
import { DATA_KEY_NUMBER_MAX } from './limits.js';
import type { MetaCopy } from './meta-copies.js';
import { readIfThere } from './secret-file.js';
import { decodeWrappedKey, type WrappedKeyRecord } from './wrapped-key-record.js';

/** Of the file that `Files.replaceFile` writes before it takes the name. */
const UNFINISHED_SUFFIX = '.json.new';
const FILE_NAME_PATTERN = /^([1-9]\d{0,9})\.json$/;

export function dataPathOf(keysPath: string): string {
  return join(keysPath, 'data');
}

export async function makeFolders(files: Files, keysPath: string): Promise<void> {
  const path = dataPathOf(keysPath);
  try {
    await files.makeDirectory(path);
    await files.syncDirectory(keysPath);
    await removeUnfinished(files, path);
  } catch (thrown) {
    throw new CryptoError(`cannot make ${path}: ${messageOf(thrown)}`, { code: 'IO', path }, { cause: thrown });
  }
}

/** A copy that a crash kept from its name belongs to a key that nobody has used. */
async function removeUnfinished(files: Files, dataPath: string): Promise<void> {
  for (const name of await files.list(dataPath)) {
    if (name.endsWith(UNFINISHED_SUFFIX)) await files.remove(join(dataPath, name));
  }
}

/** Ascending. */
export async function storedNumbers(files: Files, dataPath: string): Promise<number[]> {
  let names: string[];
  try {
    names = await files.list(dataPath);
  } catch (thrown) {
    if (thrown instanceof FileError && thrown.code === 'NOT_FOUND') return [];
    throw new CryptoError(
      `cannot list ${dataPath}: ${messageOf(thrown)}`,
      { code: 'IO', path: dataPath },
      { cause: thrown },
    );
  }
  const numbers = names.map((name) => Number(FILE_NAME_PATTERN.exec(name)?.[1] ?? 0));
  return numbers.filter((number) => number > 0 && number <= DATA_KEY_NUMBER_MAX).sort((left, right) => left - right);
}

/** Every intact copy, those of files first; `count` counts the damaged ones too. */
export async function storedRecords(
  files: Files,
  dataPath: string,
  metaCopies: readonly MetaCopy[],
): Promise<{ count: number; records: WrappedKeyRecord[] }> {
  const numbers = await storedNumbers(files, dataPath);
  const records: WrappedKeyRecord[] = [];
  for (const number of numbers) {
    const bytes = await readIfThere(files, join(dataPath, `${String(number)}.json`));
    const record = bytes === null ? null : decodeWrappedKey(bytes, number);
    if (record !== null) records.push(record);
  }
  for (const { number, record } of metaCopies) {
    const decoded = decodeWrappedKey(record, number);
    if (decoded !== null) records.push(decoded);
  }
  return { count: numbers.length + metaCopies.length, records };
}

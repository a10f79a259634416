import { readFile, stat } from 'node:fs/promises';
import { errnoOf, messageOf } from '../base/errors.js';
import { CliError, failure } from './cli-error.js';

/** Beyond any real document by far; a volume image given by mistake is not read into memory. */
const DOCUMENT_BYTES_MAX = 1024 * 1024;

/** The text of a JSON or YAML file of `what` ("a storage class"). `shown`: its path as the user wrote it. Throws CliError. */
export async function readDocumentFile(path: string, shown: string, what: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > DOCUMENT_BYTES_MAX) throw failure(`${shown} is too large for ${what}; is it the right file?`);
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown;
    if (errnoOf(thrown) === 'ENOENT') throw failure(`there is no file ${shown}`, thrown);
    throw failure(`${shown} cannot be read: ${messageOf(thrown)}`, thrown);
  }
}

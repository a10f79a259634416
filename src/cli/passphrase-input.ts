import { readFile, stat } from 'node:fs/promises';
import { askHidden } from '../base/hidden-question.js';
import { errnoOf, messageOf } from '../base/errors.js';
import { CliError, failure, usageError } from './cli-error.js';
import type { OptionSpecs } from './option-spec.js';
import type { Session } from './session.js';

const OTHERS_MAY = 0o077;

export const RECOVERY_PASSPHRASE_OPTIONS = {
  'recovery-passphrase-file': {
    kind: 'text',
    summary: 'a file that holds the passphrase, mode 0600; without it a terminal is asked',
    value: 'FILE',
    completes: 'file',
  },
  'recovery-passphrase-environment': {
    kind: 'text',
    summary: 'an environment variable that holds the passphrase',
    value: 'NAME',
  },
} as const satisfies OptionSpecs;

/** The passphrase of a new recovery file, for the caller to wipe. Throws USAGE, FAILED, CANCELLED. */
export function newRecoveryPassphrase(
  session: Session,
  file: string | undefined,
  variable: string | undefined,
): Promise<Buffer> {
  return passphraseFrom(session, file, variable, () => askTwice(session));
}

/** The passphrase of a recovery file that is there; likewise. */
export function recoveryPassphrase(
  session: Session,
  file: string | undefined,
  variable: string | undefined,
): Promise<Buffer> {
  return passphraseFrom(session, file, variable, async () =>
    Buffer.from(await askOnce(session, 'Passphrase of the recovery file: ')),
  );
}

async function passphraseFrom(
  session: Session,
  file: string | undefined,
  variable: string | undefined,
  fromTerminal: () => Promise<Buffer>,
): Promise<Buffer> {
  if (file !== undefined && variable !== undefined) {
    throw usageError('give --recovery-passphrase-file or --recovery-passphrase-environment, not both');
  }
  const text =
    file !== undefined
      ? await fromFile(session, file)
      : variable !== undefined
        ? fromEnvironment(session, variable)
        : await fromTerminal();
  if (text.length === 0) throw usageError('the passphrase is empty');
  return text;
}

async function fromFile(session: Session, file: string): Promise<Buffer> {
  const path = session.path(file);
  let bytes: Buffer;
  try {
    if (((await stat(path)).mode & OTHERS_MAY) !== 0) {
      throw failure(`${file} can be read or written by others: chmod 600 ${file}`);
    }
    bytes = await readFile(path);
  } catch (thrown) {
    if (thrown instanceof CliError) throw thrown;
    const reason = errnoOf(thrown) === 'ENOENT' ? 'there is no such file' : messageOf(thrown);
    throw failure(`the passphrase cannot be read from ${file}: ${reason}`, thrown);
  }
  // Editors and `echo` end a line; that is not part of the passphrase.
  const end = bytes.at(-1) !== 0x0a ? bytes.length : bytes.at(-2) === 0x0d ? bytes.length - 2 : bytes.length - 1;
  return bytes.subarray(0, end);
}

function fromEnvironment(session: Session, variable: string): Buffer {
  const value = session.world.environment[variable];
  if (value === undefined) throw usageError(`the environment variable ${variable} is not set`);
  return Buffer.from(value);
}

async function askTwice(session: Session): Promise<Buffer> {
  const first = await askOnce(session, 'Passphrase for the recovery file: ');
  if ((await askOnce(session, 'Once more: ')) !== first) throw failure('the two are not the same; nothing was written');
  return Buffer.from(first);
}

async function askOnce({ world }: Session, question: string): Promise<string> {
  if (!world.interactive) {
    throw usageError('nobody can be asked for a passphrase here: give --recovery-passphrase-file FILE');
  }
  return askHidden(question, world.stdin, world.stderr.stream, world.signal).catch((thrown: unknown) => {
    throw new CliError('nothing was written', { code: 'CANCELLED' }, { cause: thrown });
  });
}

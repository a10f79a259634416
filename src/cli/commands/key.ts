import { constants } from 'node:fs';
import { access, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { parseDuration } from '../../base/duration.js';
import { errnoOf, messageOf } from '../../base/errors.js';
import type { RotateMasterResponse } from '../../ipc/generated/keys.js';
import { type CliError, failure, usageError } from '../cli-error.js';
import { command } from '../command.js';
import { changeText, keyStatusText, toKeyStatusView } from '../output/key-text.js';
import { newRecoveryPassphrase, RECOVERY_PASSPHRASE_OPTIONS } from '../passphrase-input.js';
import { VOLUME } from './volume-word.js';

export const keyStatus = command({
  verb: ['key', 'status'],
  summary: 'show the master key, and the data keys of every volume',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const { output } = session;
    const status = await (await session.client()).keys.status();
    output.answer(toKeyStatusView(status), () => keyStatusText(status, output));
  },
});

export const keyRotateMaster = command({
  verb: ['key', 'rotate-master'],
  summary: 'wrap every data key under a new master key; volumes stay in use',
  details:
    'Without options the provider stays as it is: `file` makes a new keys/master.key, `passphrase` reads the passphrase\n' +
    'again (write the new one into its file before), `command` wraps anew. With options it moves to another provider or\n' +
    'place; what the daemon then has to be started with is printed. Files and variables are those of the daemon.\n' +
    'The old master key and what it wrapped are overwritten where they lie in the storage path. A key command is run twice\n' +
    'for each data key; for many of them give a longer --timeout.\n' +
    'Examples:\n  gfs key rotate-master\n  gfs key rotate-master --provider passphrase --passphrase-file /etc/galleonfs/passphrase',
  words: {},
  options: {
    provider: { kind: 'text', summary: 'where the new master key is', choices: ['file', 'passphrase', 'command'] },
    'key-file': { kind: 'text', summary: 'file: where it is, or is made', value: 'FILE', completes: 'file' },
    'passphrase-file': { kind: 'text', summary: 'passphrase: a file that holds it', value: 'FILE', completes: 'file' },
    'passphrase-environment': { kind: 'text', summary: "passphrase: a variable of the daemon's", value: 'NAME' },
    'passphrase-credential': { kind: 'text', summary: 'passphrase: a systemd credential of the daemon', value: 'NAME' },
    'key-command': { kind: 'text', summary: 'command: wraps and unwraps data keys', value: 'PROGRAM[,ARGUMENT...]' },
    'key-command-timeout': { kind: 'text', summary: 'command: how long one run may take', value: 'DURATION' },
  },
  async run(_words, options, session) {
    const file = (name: 'key-file' | 'passphrase-file'): string => {
      const given = options[name];
      return given === undefined ? '' : session.path(given);
    };
    const timeout = options['key-command-timeout'];
    const response = await (
      await session.client()
    ).keys.rotateMaster({
      provider: options.provider ?? '',
      keyFile: file('key-file'),
      passphraseFile: file('passphrase-file'),
      passphraseEnvironment: options['passphrase-environment'] ?? '',
      passphraseCredential: options['passphrase-credential'] ?? '',
      keyCommand: programAndArguments(options['key-command']),
      keyCommandTimeoutMs: timeout === undefined ? 0 : parseDuration(timeout),
    });
    const { keys, settingsChanged, masterKeyId, unfinished, oldKeyFile } = response;
    const settings = response.settings?.settings ?? {};
    session.output.answer({ keys, masterKeyId, settingsChanged, settings, unfinished, oldKeyFile }, () =>
      rotationText(response),
    );
  },
});

export const keyRotateData = command({
  verb: ['key', 'rotate-data'],
  summary: 'seal a volume with a new data key, while it is used',
  details:
    'New writes use it at once. Blocks that were written before are sealed anew in the background, those of snapshots too;\n' +
    'then the old key is destroyed. `gfs key status` shows how far that is. What a clone shows as well stays as it is, and\n' +
    'keeps the old key, for as long as both are there.\n' +
    'Example:\n  gfs key rotate-data web',
  words: { volume: VOLUME },
  options: {},
  async run({ volume }, _options, session) {
    const response = await (await session.client()).keys.rotateData(volume);
    const { id, name, keyNumber, retired } = response;
    session.output.answer({ id, name, keyNumber, retired }, () => `${changeText(response)}\n${BACK_UP_KEYS}`);
  },
});

export const keyExportRecovery = command({
  verb: ['key', 'export-recovery'],
  summary: 'write all data keys into a file under a passphrase, against the loss of the master key',
  details:
    'The file opens every volume to whoever has it and its passphrase: keep the two apart, and both apart from the data.\n' +
    'It stays good when the master key changes. Keys that are made later are not in it: write a new one then.\n' +
    'Example:\n  gfs key export-recovery /media/safe/node-1.recovery',
  words: { file: { summary: 'the file to write; there must be none', required: true, completes: 'file' } },
  options: RECOVERY_PASSPHRASE_OPTIONS,
  async run({ file }, options, session) {
    const path = session.path(file);
    await refuseExisting(path, file);
    const passphrase = await newRecoveryPassphrase(
      session,
      options['recovery-passphrase-file'],
      options['recovery-passphrase-environment'],
    );
    try {
      const { recovery, keys, volumes } = await (await session.client()).keys.exportRecovery(passphrase);
      await writeNew(path, file, recovery);
      session.output.answer({ file: path, keys, volumes }, () => {
        const what = `${String(keys)} data ${keys === 1 ? 'key' : 'keys'} of ${String(volumes)} ${volumes === 1 ? 'volume' : 'volumes'}`;
        return `${what} written to ${file}; whoever has it and the passphrase can open them: keep both apart from the data`;
      });
    } finally {
      passphrase.fill(0);
    }
  },
});

/** Taken over by the daemon's side before this table is asked; it stands here for help and completion. */
export const keyImportRecovery = command({
  verb: ['key', 'import-recovery'],
  summary: 'make a stopped node openable again from a recovery file, under a new master key',
  details:
    'Works on the storage path while no daemon runs on it: the new master key is made as the next start will look for it,\n' +
    "and nothing can be using the keys that it replaces. FILE comes first, then the daemon's own options: --storage-path,\n" +
    '--config, --key-provider and what goes with it (`gfs -d --help`), or the GFS_... variables.\n' +
    'Example:\n  gfs key import-recovery /media/safe/node-1.recovery --storage-path /var/lib/galleonfs',
  words: { file: { summary: 'the recovery file', required: true, completes: 'file' } },
  options: RECOVERY_PASSPHRASE_OPTIONS,
  run({ file }) {
    throw usageError(`write the verb first: gfs key import-recovery ${file} --storage-path DIR ...`);
  },
});

const BACK_UP_KEYS = 'copies of keys/ and recovery files that were made before do not have the new key: make new ones';

function programAndArguments(text: string | undefined): string[] {
  const items = (text ?? '').split(',').map((item) => item.trim());
  return items.filter((item) => item !== '');
}

function rotationText({ keys, settings, settingsChanged, unfinished, oldKeyFile }: RotateMasterResponse): string {
  const wrapped = `${String(keys)} data ${keys === 1 ? 'key is' : 'keys are'} wrapped under it`;
  const lines = [
    unfinished === ''
      ? `the master key was changed: ${wrapped}, and what the old one had wrapped is overwritten`
      : `the master key was changed: ${wrapped}; ${unfinished}; it is tried again by itself, and at the next start`,
  ];
  if (oldKeyFile !== '') {
    lines.push(`the old master key in ${oldKeyFile} was left alone: erase it when no other node needs it`);
  }
  const entries = Object.entries(settings?.settings ?? {});
  if (settingsChanged) {
    const more = entries.some(([key]) => key === 'key_command') ? ' (and the arguments that you gave)' : '';
    lines.push(
      '',
      'From its next start on the daemon needs these settings, in place of the key settings that it has now:',
      `  gfs -d ... ${entries.map(([key, value]) => `--${key.replaceAll('_', '-')} ${value}`).join(' ')}${more}`,
      'or in its file:',
      '  [security]',
      ...entries.map(([key, value]) => `  ${key} = ${JSON.stringify(value)}${key === 'key_command' ? more : ''}`),
      'With the settings of now it would start with the encrypted volumes locked.',
    );
  } else {
    lines.push('the daemon needs no other settings');
  }
  lines.push(
    '',
    'Copies of keys/ that were made before open nothing any more without the old master key: make a new one.',
  );
  return lines.join('\n');
}

async function refuseExisting(path: string, shown: string): Promise<void> {
  try {
    await access(path, constants.F_OK);
  } catch {
    return;
  }
  throw alreadyThere(shown);
}

function alreadyThere(shown: string): CliError {
  return failure(`${shown} is there already and is not overwritten; name another file`);
}

/** Durable, for its owner only; nothing is left of it when it fails. */
async function writeNew(path: string, shown: string, bytes: Uint8Array): Promise<void> {
  let made = false;
  try {
    const handle = await open(path, 'wx', 0o600);
    made = true;
    try {
      await handle.chmod(0o600);
      await handle.writeFile(bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const folder = await open(dirname(path), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (thrown) {
    if (made) await rm(path, { force: true }).catch(() => undefined);
    if (errnoOf(thrown) === 'EEXIST') throw alreadyThere(shown);
    throw failure(`${shown} cannot be written: ${messageOf(thrown)}`, thrown);
  }
}

/**
 * `gfs key import-recovery FILE`: makes a node openable again whose master key is lost. Offline, because the new master key
 * must be made where the next start looks for it, with the settings of that start, and because nothing may use or make
 * data keys while all of them get another master key from outside.
 */
import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { messageOf } from '../base/errors.js';
import { askHidden } from '../base/hidden-question.js';
import { CloseStack } from '../base/lifecycle.js';
import { SystemClock, SystemRandom } from '../base/system-clock.js';
import { DataKeyCopies } from '../control/data-key-copies.js';
import { storedKeyNeeds } from '../control/key-needs.js';
import { readPassphrase } from '../crypto/passphrase.js';
import { decodeRecovery } from '../crypto/recovery-file.js';
import { recoverKeys, type Recovery } from '../crypto/recovery.js';
import { fileModeOf } from '../crypto/secret-file.js';
import { NativeFiles } from '../io/native-files.js';
import { LmdbMetaStore } from '../meta/lmdb-meta-store.js';
import { configError } from './config-file.js';
import { readConfiguration } from './configuration.js';
import { DaemonError } from './daemon-error.js';
import type { NodeSettings } from './node-settings.js';
import { StorageFolder } from './storage-folder.js';

const PASSPHRASE_FILE = '--recovery-passphrase-file';
const PASSPHRASE_VARIABLE = '--recovery-passphrase-environment';

interface Arguments {
  readonly file: string;
  readonly passphraseFile: string;
  readonly passphraseVariable: string;
  /** The daemon's own. */
  readonly rest: readonly string[];
}

/** Resolves to the exit status: 0 done, 1 failed with nothing changed, 2 wrong usage. */
export async function runImportRecovery(argv: readonly string[]): Promise<number> {
  process.umask(0o077);
  const closing = new CloseStack();
  try {
    const given = takeArguments(argv);
    const parsed = await readConfiguration({
      argv: given.rest,
      environment: process.env,
      workingFolder: process.cwd(),
      readFile: (path) => readFile(path, 'utf8'),
    });
    if (parsed.kind !== 'run') throw configError('see `gfs help key import-recovery`');
    process.stdout.write(await recover(given, parsed.configuration.settings, closing));
    return 0;
  } catch (thrown) {
    process.stderr.write(`gfs: ${messageOf(thrown).replaceAll(/\s*\n\s*/g, ' ')}\n`);
    return thrown instanceof DaemonError && thrown.code === 'CONFIG' ? 2 : 1;
  } finally {
    await closing.close();
  }
}

async function recover(given: Arguments, settings: NodeSettings, closing: CloseStack): Promise<string> {
  const { storagePath, keyProvider } = settings;
  const [files, clock, random] = [new NativeFiles(), new SystemClock(), new SystemRandom()];
  if (!(await files.exists(join(storagePath, 'node.json')))) {
    throw refusal(`${storagePath} is not the storage path of a node: it has no node.json`);
  }
  const path = isAbsolute(given.file) ? given.file : resolve(given.file);
  const bytes = await readFile(path).catch((thrown: unknown) => {
    throw refusal(`${given.file} cannot be read: ${messageOf(thrown)}`);
  });
  // 1. What the file holds: root may be the only one who can read it, and its passphrase.
  const passphrase = await passphraseOf(given);
  const content = await decodeRecovery(bytes, passphrase, given.file).finally(() => passphrase.fill(0));
  try {
    // 2. The node is ours, and nobody wraps or opens a key meanwhile.
    await becomeOwner(storagePath);
    const folder = closing.push(await StorageFolder.open(storagePath, { files, clock, random }));
    const meta = closing.push(await LmdbMetaStore.open({ path: folder.metaPath }, { clock }));
    if (content.nodeId !== folder.nodeId) {
      throw refusal(`${given.file} is the recovery file of node ${content.nodeId}, and this is node ${folder.nodeId}`);
    }
    // 3. All keys that volumes need, under a new master key.
    const recovery = await recoverKeys(
      { keysPath: folder.keysPath, provider: keyProvider },
      { keys: content.keys, needs: await storedKeyNeeds(meta), metaCopies: new DataKeyCopies(meta) },
      { files, random, clock, environment: process.env, modeOf: fileModeOf },
    );
    return report(recovery, content.volumes, given.file);
  } finally {
    for (const { secret } of content.keys) secret.fill(0);
  }
}

function report(
  { recovered, kept, lost, provider }: Recovery,
  volumes: readonly { readonly name: string; readonly keys: readonly number[] }[],
  file: string,
): string {
  const names = (numbers: readonly number[]): string =>
    volumes
      .filter(({ keys }) => keys.some((number) => numbers.includes(number)))
      .map(({ name }) => name)
      .join(', ');
  const count = `${recovered.length} data ${recovered.length === 1 ? 'key' : 'keys'}`;
  const lines = [`${count} from ${file} (volumes: ${names(recovered)}) wrapped under a new master key: ${provider}`];
  if (kept.length > 0)
    lines.push(`data keys that the old master key still opened are wrapped under it too: ${kept.join(', ')}`);
  if (lost.length > 0) {
    lines.push(
      `not in the file, and not to be opened: data keys ${lost.join(', ')}; volumes that need them stay locked ` +
        'unless a newer recovery file is found',
    );
  }
  lines.push('start the daemon with the same key settings as here, and make a new copy of keys/', '');
  return lines.join('\n');
}

/** What is made here is the daemon's to read: a file of root's in its folder would keep it from starting. */
async function becomeOwner(storagePath: string): Promise<void> {
  const { uid, gid } = await stat(storagePath);
  const ours = process.geteuid?.();
  if (ours === uid) return;
  if (ours !== 0) throw refusal(`${storagePath} belongs to user ${String(uid)}: run this as that user, or as root`);
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

function takeArguments(argv: readonly string[]): Arguments {
  const [file, ...options] = argv;
  if (file === undefined || file.startsWith('-')) {
    throw configError(
      'the recovery file comes first: gfs key import-recovery FILE --storage-path DIR [options of the daemon]',
    );
  }
  const own = new Map<string, string>();
  const rest: string[] = [];
  for (let at = 0; at < options.length; at += 1) {
    const option = options[at] ?? '';
    const [name = '', inline] = option.split(/=(.*)/s);
    if (name !== PASSPHRASE_FILE && name !== PASSPHRASE_VARIABLE) {
      rest.push(option);
      continue;
    }
    if (inline === undefined) at += 1;
    const value = inline ?? options[at] ?? '';
    if (value === '') throw configError(`${name} needs a value`);
    own.set(name, value);
  }
  if (own.size > 1) throw configError(`give ${PASSPHRASE_FILE} or ${PASSPHRASE_VARIABLE}, not both`);
  return {
    file,
    passphraseFile: own.get(PASSPHRASE_FILE) ?? '',
    passphraseVariable: own.get(PASSPHRASE_VARIABLE) ?? '',
    rest,
  };
}

async function passphraseOf({ passphraseFile, passphraseVariable }: Arguments): Promise<Uint8Array> {
  const dependencies = { files: new NativeFiles(), environment: process.env, modeOf: fileModeOf };
  if (passphraseFile !== '') return readPassphrase({ kind: 'file', path: resolve(passphraseFile) }, dependencies);
  if (passphraseVariable !== '') {
    return readPassphrase({ kind: 'environment', variable: passphraseVariable }, dependencies);
  }
  if (!process.stdin.isTTY || !process.stderr.isTTY) {
    throw configError(`nobody can be asked for the passphrase of the file here: give ${PASSPHRASE_FILE} FILE`);
  }
  const never = new AbortController().signal;
  return Buffer.from(await askHidden('Passphrase of the recovery file: ', process.stdin, process.stderr, never));
}

function refusal(reason: string): DaemonError {
  return new DaemonError(reason, { code: 'START', subject: 'recovery' });
}

// The programs of the operating system that building, testing and the quick start use.
import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runCommand } from './run-command.mjs';

/** Each Debian package that we use, and one file that proves it: a program's name, or an absolute path. */
const PACKAGE_PROOFS = {
  'libnbd-bin': 'nbdcopy',
  'python3-libnbd': '/usr/lib/python3/dist-packages/nbd.py',
  'qemu-utils': 'qemu-img',
  nbdkit: 'nbdkit',
  fio: 'fio',
  e2fsprogs: 'mke2fs',
  xfsprogs: 'mkfs.xfs',
  fuse3: 'fusermount3',
  openssl: 'openssl',
  python3: 'python3',
  make: 'make',
  'g++': 'g++',
};

const APT_OPTIONS = [
  '-y',
  '-qq',
  '-o',
  'DPkg::Lock::Timeout=300',
  '-o',
  'Acquire::Retries=3',
  '--no-install-recommends',
];
/** Where administrators' programs live; an ordinary user's PATH often leaves them out. */
const MORE_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** PATH with the administrators' folders at its end. */
export function fullPath() {
  const present = (process.env['PATH'] ?? '/usr/bin:/bin').split(delimiter);
  return [...present, ...MORE_FOLDERS.filter((folder) => !present.includes(folder))].join(delimiter);
}

/**
 * Absolute path of a program, or null.
 * @param {string} program
 */
export function findProgram(program) {
  for (const folder of fullPath().split(delimiter)) {
    const path = join(folder, program);
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here: the next folder.
      continue;
    }
  }
  return null;
}

/** Debian names of what is missing, in the table's order. */
export function missingPackages() {
  return Object.entries(PACKAGE_PROOFS)
    .filter(([, proof]) => (proof.startsWith('/') ? !existsSync(proof) : findProgram(proof) === null))
    .map(([name]) => name);
}

/** Installs what is missing if this is root on a machine with apt; otherwise, or if that fails, names it in one line. */
export async function installDebianPackages() {
  let missing = missingPackages();
  if (missing.length === 0) return;
  const isRoot = process.getuid?.() === 0;
  let failure = '';
  if (isRoot && findProgram('apt-get') !== null) {
    console.log(`setup: apt-get install ${missing.join(' ')}`);
    failure = await aptInstall(missing);
    missing = missingPackages();
    if (missing.length === 0) return;
  }
  const how = `apt-get install ${missing.join(' ')}`;
  const why = failure === '' ? `as root: ${how}` : `${how} failed: ${failure}`;
  console.log(`setup: not installed: ${missing.join(' ')} (${why}); tests that need them are skipped`);
}

/**
 * Tries all at once, refreshes the package lists if that failed, then one by one, so that a name that this release does
 * not know does not keep the others away. Returns the last failure in one line, or ''.
 * @param {readonly string[]} names
 */
async function aptInstall(names) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', PATH: fullPath() };
  if ((await runCommand('apt-get', ['install', ...APT_OPTIONS, ...names], { env })).status === 0) return '';
  const update = await runCommand('apt-get', ['update', ...APT_OPTIONS.slice(0, 6)], { env });
  if ((await runCommand('apt-get', ['install', ...APT_OPTIONS, ...names], { env })).status === 0) return '';
  let failure = update.status === 0 ? '' : lastLine(update.stderr);
  for (const name of names) {
    const result = await runCommand('apt-get', ['install', ...APT_OPTIONS, name], { env });
    if (result.status !== 0) failure = lastLine(result.stderr);
  }
  return failure;
}

/** @param {string} text */
function lastLine(text) {
  return text.trim().split('\n').at(-1) ?? '';
}

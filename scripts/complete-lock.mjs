// `npm run lock`: updates package-lock.json from package.json, also where the registry at hand does not carry the builds
// of other platforms. npm leaves those out of the lock then, and `npm ci` refuses a lock that lacks them.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './run-command.mjs';

/** @typedef {{ version?: string, integrity?: string, os?: string[], cpu?: string[], optional?: boolean, dev?: boolean,
 *   dependencies?: Record<string, string>, optionalDependencies?: Record<string, string>,
 *   devDependencies?: Record<string, string> }} LockEntry */
/** @typedef {Record<string, LockEntry>} LockPackages */

/** Node's names for what packages call their platforms. */
const OPERATING_SYSTEMS = [
  'linux',
  'darwin',
  'win32',
  'freebsd',
  'openbsd',
  'netbsd',
  'android',
  'openharmony',
  'sunos',
  'aix',
];
const PROCESSORS = {
  armv7: 'arm',
  armv6: 'arm',
  aarch64: 'arm64',
  arm64: 'arm64',
  arm: 'arm',
  x64: 'x64',
  ia32: 'ia32',
  ppc64: 'ppc64',
  riscv64: 'riscv64',
  s390x: 's390x',
};

/**
 * Dependencies that no entry of the lock answers, as npm ci would look for them.
 * @param {LockPackages} packages
 * @returns {{ from: string, name: string, version: string, optional: boolean }[]}
 */
export function missingFromLock(packages) {
  const missing = [];
  for (const [from, entry] of Object.entries(packages)) {
    const own = from === '' ? entry.devDependencies : {};
    const required = Object.entries({ ...entry.dependencies, ...own }).map((each) => ({ each, optional: false }));
    const optional = Object.entries(entry.optionalDependencies ?? {}).map((each) => ({ each, optional: true }));
    for (const { each, optional: isOptional } of [...required, ...optional]) {
      const [name, version] = each;
      if (!isInReach(packages, from, name)) missing.push({ from, name, version, optional: isOptional });
    }
  }
  return missing;
}

/** Whether a package at `from` finds `name` in its own node_modules or in one above. @param {LockPackages} packages @param {string} from @param {string} name */
function isInReach(packages, from, name) {
  let folder = from;
  for (;;) {
    if (Object.hasOwn(packages, `${folder === '' ? '' : `${folder}/`}node_modules/${name}`)) return true;
    if (folder === '') return false;
    const above = folder.lastIndexOf('/node_modules/');
    folder = above < 0 ? '' : folder.slice(0, above);
  }
}

/**
 * The entry of a build for another platform, from its name; null when the name does not say which.
 * @param {string} name
 * @param {string} version
 * @param {boolean} dev
 * @returns {LockEntry | null}
 */
export function platformEntry(name, version, dev) {
  const words = name.split('/').at(-1)?.split('-') ?? [];
  const os = OPERATING_SYSTEMS.find((each) => words.includes(each));
  const cpu = Object.entries(PROCESSORS).find(([word]) => words.includes(word))?.[1];
  if (os === undefined || cpu === undefined || !/^\d+\.\d+\.\d+/.test(version)) return null;
  return { version, cpu: [cpu], ...(dev ? { dev: true } : {}), optional: true, os: [os] };
}

/** @param {string} path package-lock.json */
function completeLock(path) {
  const lock = JSON.parse(readFileSync(path, 'utf8'));
  for (const { from, name, version, optional } of missingFromLock(lock.packages)) {
    const entry = optional ? platformEntry(name, version, lock.packages[from].dev === true) : null;
    if (entry === null) throw new Error(`${name} ${version}, which ${from} needs, is not in the lock`);
    lock.packages[`node_modules/${name}`] = entry;
    console.log(`lock: ${name} ${version} is for ${entry.os?.join()} ${entry.cpu?.join()} only, and has no digest`);
  }
  const sorted = Object.entries(lock.packages).sort(([left], [right]) => (left < right ? -1 : 1));
  lock.packages = Object.fromEntries(sorted);
  writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const args = ['install', '--package-lock-only', '--ignore-scripts', '--omit-lockfile-registry-resolved'];
  const result = await runCommand('npm', args, { cwd: root, show: true });
  if (result.status === 0) completeLock(join(root, 'package-lock.json'));
  process.exitCode = result.status;
}

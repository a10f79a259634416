// Whether node_modules is what package-lock.json says, and `npm ci` when it is not.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommand } from './run-command.mjs';

const INSTALL_ATTEMPTS_MAX = 3;

/**
 * Names what differs between the lock and what npm noted when it last filled node_modules; null when nothing does.
 * Optional packages (prebuilt binaries of other machines) may be absent.
 * @param {string} root
 * @returns {string | null}
 */
export function nodeModulesGap(root) {
  const notePath = join(root, 'node_modules/.package-lock.json');
  if (!existsSync(notePath)) return 'node_modules is missing';
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const present = packagesOf(notePath);
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === '') continue;
    const found = present[path];
    if (found === undefined && entry.optional !== true) return `${path} is missing`;
    if (found !== undefined && found.version !== entry.version)
      return `${path} is ${found.version}, not ${entry.version}`;
  }
  const extra = Object.keys(present).find((path) => !Object.hasOwn(wanted, path));
  return extra === undefined ? null : `${extra} is not in package-lock.json`;
}

/** @param {string} path @returns {Record<string, { version?: string, optional?: boolean }>} */
function packagesOf(path) {
  return JSON.parse(readFileSync(path, 'utf8')).packages;
}

/**
 * Runs `npm ci` if it is needed. Development packages are part of it: the compiler is one.
 * @param {string} root
 */
export async function installNodeModules(root) {
  const gap = nodeModulesGap(root);
  if (gap === null) return;
  console.log(`setup: npm ci (${gap})`);
  const npm = process.env['npm_execpath'];
  const [program, ...first] = npm?.endsWith('.js') === true ? [process.execPath, npm] : ['npm'];
  let last = '';
  for (let attempt = 1; attempt <= INSTALL_ATTEMPTS_MAX; attempt += 1) {
    const result = await runCommand(program, [...first, 'ci', '--include=dev', '--no-audit', '--no-fund'], {
      cwd: root,
    });
    if (result.status === 0) return;
    last = result.stderr.trim();
    // The lock does not fit package.json: trying again changes nothing.
    if (last.includes('EUSAGE')) break;
  }
  throw new Error(`npm ci failed; its last words:\n${last}`);
}

// What no other tool checks about the files of the repository: `node scripts/check-tree.mjs [folder]`.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { missingFromLock } from './complete-lock.mjs';
import { runCommand } from './run-command.mjs';

const FILE_LINES_MAX = 500;
/** A file this long is close to wanting a split; it is named, and passes. */
const FILE_LINES_WARN = 400;
const SHELL = /^#!.*\b(?:ba|da)?sh\b/;
const NOT_OURS = new Set(['node_modules', '.git', 'dist', 'build', 'coverage', '.cache', '.galleon-quickstart']);
/** Folders of one machine's users, which mean nothing on another. */
const MACHINE_PATH = /(?<![\w.$}])\/(?:home|Users|root|work)\/[\w.-]+/;
const TEXT = new Set([
  '.ts',
  '.mjs',
  '.cjs',
  '.js',
  '.json',
  '.md',
  '.sh',
  '.service',
  '.yaml',
  '.yml',
  '.toml',
  '.cc',
  '.h',
  '.gyp',
]);

/**
 * @param {string} root
 * @returns {Promise<{ problems: string[], warnings: string[], filesRead: number }>}
 */
export async function checkTree(root) {
  const problems = [];
  const warnings = [];
  const paths = ourFiles(root);
  for (const path of paths) {
    const text = readFileSync(join(root, path), 'utf8');
    if (isCounted(path)) {
      const lines = text.split('\n').length - 1;
      if (lines > FILE_LINES_MAX)
        problems.push(`${path}: ${lines} lines, at most ${FILE_LINES_MAX}: it wants splitting`);
      else if (lines > FILE_LINES_WARN) warnings.push(`${path}: ${lines} lines of ${FILE_LINES_MAX}`);
    }
    if (SHELL.test(text)) {
      const result = await runCommand('bash', ['-n', join(root, path)]);
      if (result.status !== 0) problems.push(`${path}: ${result.stderr.trim()}`);
    }
    if (isText(path) && path !== 'package-lock.json') {
      const line = text.split('\n').findIndex((each) => MACHINE_PATH.test(each));
      if (line >= 0) problems.push(`${path}:${line + 1}: a path of one machine`);
    }
  }
  problems.push(...lockProblems(root));
  if (!paths.some(isCounted)) problems.push('no source file was read');
  return { problems, warnings, filesRead: paths.length };
}

/** @param {string} path */
function isCounted(path) {
  const inScope = path.startsWith('src/') || path.startsWith('native/');
  return inScope && /\.(?:ts|cc|h)$/.test(path) && !path.startsWith('src/ipc/generated/');
}

/** @param {string} path */
function isText(path) {
  return TEXT.has(extname(path)) || path === '.ci/run';
}

/** The lock names versions and digests, never the host that they were fetched from. @param {string} root */
function lockProblems(root) {
  const path = join(root, 'package-lock.json');
  if (!existsSync(path)) return ['package-lock.json is missing'];
  const { packages } = JSON.parse(readFileSync(path, 'utf8'));
  const problems = [];
  for (const [name, entry] of Object.entries(packages)) {
    if (name === '') continue;
    if (entry.resolved !== undefined) problems.push(`package-lock.json: ${name} names the host it came from`);
    if (entry.integrity === undefined && mayBeInstalled(entry))
      problems.push(`package-lock.json: ${name} has no digest`);
  }
  for (const { from, name } of missingFromLock(packages)) {
    problems.push(`package-lock.json: ${name}, which ${from} names, has no entry: npm run lock`);
  }
  return problems;
}

/** Whether a package is for a machine that we run on (package.json: os, cpu). @param {{ os?: string[], cpu?: string[] }} entry */
function mayBeInstalled({ os, cpu }) {
  const onOurSystem = os?.includes('linux') ?? true;
  return onOurSystem && (cpu === undefined || cpu.includes('x64') || cpu.includes('arm64'));
}

/** Files of the repository, relative to its root. @param {string} root @returns {string[]} */
function ourFiles(root) {
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => !NOT_OURS.has(entry.name))
    .flatMap((entry) => {
      const path = join(root, entry.name);
      if (entry.isFile()) return [relative(root, path)];
      if (!entry.isDirectory()) return [];
      return readdirSync(path, { withFileTypes: true, recursive: true })
        .filter((inner) => inner.isFile())
        .map((inner) => relative(root, join(inner.parentPath, inner.name)));
    })
    .sort();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { problems, warnings, filesRead } = await checkTree(process.argv[2] ?? process.cwd());
  for (const warning of warnings) console.log(`close to the limit: ${warning}`);
  for (const problem of problems) console.error(problem);
  console.log(`tree: ${filesRead} files read, ${problems.length} problems`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

// The dependency table, enforced: `node scripts/check-dependencies.mjs [folder]`.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise } from 'dependency-cruiser';
import extractConfiguration from 'dependency-cruiser/config-utl/extract-depcruise-config';
import extractTsConfig from 'dependency-cruiser/config-utl/extract-ts-config';

const roomTable = JSON.parse(readFileSync(new URL('room-table.json', import.meta.url), 'utf8'));

const CODE = /\.(?:ts|mts|cts|js|mjs|cjs)$/;
const LOOKED_AT = ['src', 'test', 'scripts'];

/** A file that imports from this repository: the cruiser must have found at least one dependency in it. */
const IMPORTS_OURS = /^\s*(?:import|export)\b[^;'"]*?from ['"]\.\.?\//m;

/**
 * Checks the tree under `root` against the rules of this repository. Returns what is wrong, one line each, and the
 * number of files read. A file that the cruiser did not read is wrong too: a checker that sees nothing passes everything.
 * @param {string} root
 * @returns {Promise<{ problems: string[], filesRead: number }>}
 */
export async function checkDependencies(root) {
  const rules = fileURLToPath(new URL('../.dependency-cruiser.cjs', import.meta.url));
  const folders = LOOKED_AT.filter((folder) => existsSync(join(root, folder)));
  const onDisk = folders.flatMap((folder) => codeFiles(join(root, folder))).map((path) => relative(root, path));
  if (!onDisk.some((path) => path.startsWith('src/')))
    return { problems: ['not-read: no file under src/'], filesRead: 0 };

  const { options, ...ruleSet } = await extractConfiguration(rules);
  const tsConfig = extractTsConfig(join(root, 'tsconfig.json'));
  const reply = await cruise(
    folders,
    { ...options, tsConfig: { fileName: 'tsconfig.json' }, baseDir: root, ruleSet, validate: true },
    undefined,
    { tsConfig },
  );
  if (typeof reply.output === 'string') throw new Error('dependency-cruiser answered with text');

  const problems = reply.output.summary.violations.map((violation) => {
    const way = violation.cycle ?? violation.via ?? [];
    const through = way.length > 0 ? ` (through ${way.map((step) => step.name).join(', ')})` : '';
    return `${violation.rule.name}: ${violation.from} -> ${violation.to}${through}`;
  });
  problems.push(...onDisk.filter(outsideTheTable).map((path) => `unknown-room: ${path}`));
  const dependencyCounts = new Map(reply.output.modules.map((module) => [module.source, module.dependencies.length]));
  const unread = unreadFiles(onDisk, dependencyCounts, (path) => readFileSync(join(root, path), 'utf8'));
  problems.push(...unread.map((path) => `not-read: ${path}`));
  return { problems, filesRead: onDisk.length - unread.length };
}

/**
 * Files that a cruise passed over: those it does not name, and those that it names but in which it found no dependency
 * although they import (what happens when its parser does not know the language).
 * @param {readonly string[]} onDisk
 * @param {ReadonlyMap<string, number>} dependencyCounts Dependencies found, for each file that the cruise names.
 * @param {(path: string) => string} textOf
 */
export function unreadFiles(onDisk, dependencyCounts, textOf) {
  return onDisk.filter((path) => {
    const found = dependencyCounts.get(path);
    return found === undefined || (found === 0 && IMPORTS_OURS.test(textOf(path)));
  });
}

/** @param {string} path */
function outsideTheTable(path) {
  const [top, room, ...rest] = path.split('/');
  if (top !== 'src' || path === 'src/main.ts') return false;
  return rest.length === 0 || !Object.hasOwn(roomTable, room);
}

/** @param {string} folder @returns {string[]} */
function codeFiles(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && CODE.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { problems, filesRead } = await checkDependencies(process.argv[2] ?? process.cwd());
  for (const problem of problems) console.error(problem);
  console.log(`dependency table: ${filesRead} files read, ${problems.length} problems`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

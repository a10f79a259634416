// `npm run check [name ...]`: every static check, one line each; all of them run, also after one has failed.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './run-command.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Name, script, arguments. */
const CHECKS = /** @type {const} */ ([
  ['types', 'node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json', '--pretty', 'false']],
  ['lint', 'node_modules/eslint/bin/eslint.js', ['--max-warnings=0', '.']],
  ['format', 'node_modules/prettier/bin/prettier.cjs', ['--check', '--log-level=warn', '.']],
  ['dependencies', 'scripts/check-dependencies.mjs', []],
  ['dead-code', 'node_modules/knip/bin/knip.js', ['--no-progress', '--treat-config-hints-as-errors']],
  ['generated', 'scripts/check-proto.mjs', []],
  ['tree', 'scripts/check-tree.mjs', []],
]);

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some(([known]) => known === name));
if (unknown.length > 0) {
  console.error(`check: no such check: ${unknown.join(', ')}; there are ${CHECKS.map(([name]) => name).join(', ')}`);
  process.exit(2);
}

/** @type {string[]} */
const failed = [];
for (const [name, script, args] of CHECKS) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const startMs = performance.now();
  const result = await runCommand(process.execPath, [join(root, script), ...args], { cwd: root });
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${result.status === 0 ? 'ok    ' : 'FAILED'} ${name.padEnd(12)} ${seconds} s`);
  const output = `${result.stdout}${result.stderr}`.trim();
  if (result.status !== 0) {
    failed.push(name);
    console.log(output.replace(/^/gm, '    '));
  }
}
console.log(failed.length === 0 ? 'all checks passed' : `checks failed: ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;

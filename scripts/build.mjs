// `npm run build`: the native addon and dist/. Safe to run twice at once: the second waits for the first.
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram } from './debian-packages.mjs';
import { buildNativeAddon } from './native-addon.mjs';
import { runCommand } from './run-command.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const LOCK_WAIT_S = 900;
/** Set in the process that runs under the lock. */
const UNDER_LOCK = 'GALLEON_BUILD_LOCKED';

async function build() {
  if (!existsSync(join(root, 'node_modules/typescript'))) throw new Error('node_modules is missing: run npm ci first');
  await buildNativeAddon(root);
  if (process.argv.includes('--native')) return;
  console.log('build: dist');
  removeOrphans();
  const result = await runCommand(
    process.execPath,
    [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--pretty', 'false'],
    { cwd: root },
  );
  if (result.status !== 0) throw new Error(`tsc failed:\n${result.stdout}${result.stderr}`);
  const entry = join(root, 'dist/main.js');
  if (!readFileSync(entry, 'utf8').startsWith('#!')) throw new Error('src/main.ts must start with #!/usr/bin/env node');
  chmodSync(entry, 0o755);
}

/** Removes what an earlier build made from sources that are gone; tsc leaves it, and it would still be importable. */
function removeOrphans() {
  const dist = join(root, 'dist');
  if (!existsSync(dist)) return;
  for (const entry of readdirSync(dist, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    const stem = /^(.*)\.js(?:\.map)?$/.exec(relative(dist, path))?.[1];
    if (stem !== undefined && !existsSync(join(root, 'src', `${stem}.ts`))) rmSync(path);
  }
}

/** Runs this script again under an advisory lock; flock is on every Debian and Ubuntu. */
async function buildUnderLock() {
  mkdirSync(join(root, '.cache'), { recursive: true });
  const args = ['-w', `${LOCK_WAIT_S}`, join(root, '.cache/build.lock'), process.execPath, ...process.argv.slice(1)];
  const result = await runCommand('flock', args, { env: { ...process.env, [UNDER_LOCK]: '1' }, show: true });
  return result.status;
}

if (process.env[UNDER_LOCK] === undefined && findProgram('flock') !== null) {
  process.exitCode = await buildUnderLock();
} else {
  try {
    await build();
  } catch (thrown) {
    console.error(`build: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    process.exitCode = 1;
  }
}

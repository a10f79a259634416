import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'galleon-dead-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** What our configuration of knip says of a tree; dependencies of our own that the tree has no use for are left out. */
function findings(files: Record<string, string>): { status: number | null; text: string } {
  const all: Record<string, string> = {
    'package.json': '{ "name": "tree", "type": "module", "dependencies": {} }',
    'tsconfig.json': '{ "compilerOptions": { "module": "NodeNext" } }',
    'src/main.ts': "import { used } from './base/used.js';\nused();\n",
    'src/base/used.ts': 'export function used(): void {}\n',
    ...files,
  };
  for (const [path, text] of Object.entries(all)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  cpSync(join(root, 'knip.jsonc'), join(folder, 'knip.jsonc'));
  const run = spawnSync(process.execPath, [join(root, 'node_modules/knip/bin/knip.js'), '--no-progress'], {
    cwd: folder,
    encoding: 'utf8',
  });
  return { status: run.status, text: run.stdout };
}

it('accepts a tree in which everything is used', () => {
  expect(findings({})).toMatchObject({ status: 0 });
});

it.each([
  ['a file that nothing imports', 'src/base/dead.ts', { 'src/base/dead.ts': 'export const dead = 1;\n' }],
  [
    'an export that nothing uses',
    'forgotten',
    { 'src/base/used.ts': 'export function used(): void {}\nexport function forgotten(): void {}\n' },
  ],
  [
    'a dependency that nothing imports',
    'left-over',
    { 'package.json': '{ "name": "tree", "type": "module", "dependencies": { "left-over": "1.0.0" } }' },
  ],
  [
    'a package that is not listed',
    'stranger',
    { 'src/base/used.ts': "import 'stranger';\nexport function used(): void {}\n" },
  ],
])('catches %s', (_what, expected, files: Record<string, string>) => {
  const { status, text } = findings(files);
  expect(status).not.toBe(0);
  expect(text).toContain(expected);
});

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkDependencies, unreadFiles } from '../../scripts/check-dependencies.mjs';

/** A tree that keeps every rule; each case below breaks one. */
const LAWFUL: Record<string, string> = {
  'tsconfig.json': '{ "compilerOptions": { "module": "NodeNext", "moduleResolution": "NodeNext", "strict": true } }',
  'package.json': '{ "name": "tree", "type": "module", "dependencies": {} }',
  'src/base/assert.ts': 'export const assert = 1;\n',
  'src/device/block-device.ts': "import { assert } from '../base/assert.js';\nexport const device = assert;\n",
  'src/store/store.ts': "import { journal } from './journal/journal.js';\nexport const store = journal;\n",
  'src/store/journal/journal.ts': 'export const journal = 1;\n',
  'src/store/map/leaf.ts': 'export const leaf = 1;\n',
  'src/cli/main.ts': 'export const cli = 1;\n',
  'src/control/volumes.ts': 'export const volumes = 1;\n',
  'src/ipc/client.ts': 'export const client = 1;\n',
  'src/ipc/server.ts': "import { volumes } from '../control/volumes.js';\nexport const server = volumes;\n",
  'src/daemon/daemon.ts': 'export const daemon = 1;\n',
  'src/main.ts': "export const run = () => import('./daemon/daemon.js');\n",
  'test/base/assert.test.ts': "import { assert } from '../../src/base/assert.js';\nexport const used = assert;\n",
};

let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'galleon-table-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

async function problemsWith(changes: Record<string, string>): Promise<string[]> {
  for (const [path, text] of Object.entries({ ...LAWFUL, ...changes })) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  const { problems } = await checkDependencies(root);
  return problems;
}

describe('the dependency table', () => {
  it('accepts a tree that keeps it', async () => {
    expect(await problemsWith({})).toEqual([]);
  });

  const violations: [what: string, rule: string, changes: Record<string, string>][] = [
    [
      'a room that imports one above it',
      'room-base',
      { 'src/base/up.ts': "import { device } from '../device/block-device.js';\nexport const up = device;\n" },
    ],
    [
      'an import of a type only',
      'room-device',
      {
        'src/model/volume.ts': 'export interface Volume { name: string }\n',
        'src/device/named.ts': "import type { Volume } from '../model/volume.js';\nexport type Named = Volume;\n",
      },
    ],
    [
      'a dynamic import',
      'room-device',
      { 'src/device/lazy.ts': "export const lazy = () => import('../store/store.js');\n" },
    ],
    [
      'an export that passes another room on',
      'room-store',
      { 'src/store/pass.ts': "export { volumes } from '../control/volumes.js';\n" },
    ],
    [
      'generated code that reaches out of its room',
      'room-ipc',
      { 'src/ipc/generated/control.ts': "import { store } from '../../store/store.js';\nexport const x = store;\n" },
    ],
    ['a folder that the table does not name', 'unknown-room', { 'src/utils/misc.ts': 'export const misc = 1;\n' }],
    ['a file beside main.ts', 'unknown-room', { 'src/index.ts': "export { assert } from './base/assert.js';\n" }],
    [
      'main loading the daemon statically',
      'main-lazy',
      { 'src/main.ts': "import { daemon } from './daemon/daemon.js';\nexport const run = daemon;\n" },
    ],
    [
      'main reaching into another room',
      'main-room',
      { 'src/main.ts': "export const run = () => import('./store/store.js');\n" },
    ],
    [
      'the journal importing the map',
      'journal-apart-from-map',
      { 'src/store/journal/peek.ts': "import { leaf } from '../map/leaf.js';\nexport const peek = leaf;\n" },
    ],
    [
      'the journal importing the store',
      'journal-apart-from-map',
      { 'src/store/journal/peek.ts': "import { store } from '../store.js';\nexport const peek = store;\n" },
    ],
    [
      'the map importing the journal',
      'map-apart-from-journal',
      { 'src/store/map/peek.ts': "import { journal } from '../journal/journal.js';\nexport const peek = journal;\n" },
    ],
    [
      'the command line loading the control room through the API server',
      'cli-speaks-the-api-only',
      { 'src/cli/main.ts': "import { server } from '../ipc/server.js';\nexport const cli = server;\n" },
    ],
    [
      'two files that import each other',
      'no-cycle',
      {
        'src/base/left.ts': "import { right } from './right.js';\nexport const left = () => right;\n",
        'src/base/right.ts': "import { left } from './left.js';\nexport const right = () => left;\n",
      },
    ],
    [
      'a circle of types',
      'no-cycle',
      {
        'src/base/left.ts': "import type { Right } from './right.js';\nexport interface Left { right: Right }\n",
        'src/base/right.ts': "import type { Left } from './left.js';\nexport interface Right { left: Left }\n",
      },
    ],
    [
      'the product importing a test file',
      'tests-are-for-tests',
      {
        'test/base/fake-clock.ts': 'export const fake = 1;\n',
        'src/base/peek.ts': "import { fake } from '../../test/base/fake-clock.js';\nexport const peek = fake;\n",
      },
    ],
    [
      'the product importing a script',
      'src-stands-alone',
      {
        'scripts/help.mjs': 'export const help = 1;\n',
        'src/base/peek.ts': "import { help } from '../../scripts/help.mjs';\nexport const peek = help;\n",
      },
    ],
    [
      'an import that leads nowhere',
      'no-unresolvable',
      { 'src/base/lost.ts': "import { gone } from './gone.js';\nexport const lost = gone;\n" },
    ],
    [
      'a package that is only there for development',
      'shipped-packages-only',
      {
        'package.json': '{ "name": "tree", "type": "module", "devDependencies": { "tool": "1.0.0" } }',
        'node_modules/tool/package.json': '{ "name": "tool", "version": "1.0.0", "main": "index.js" }',
        'node_modules/tool/index.js': 'module.exports = 1;\n',
        'src/base/tool.ts': "import tool from 'tool';\nexport const used = tool;\n",
      },
    ],
  ];

  it.each(violations)('catches %s', async (_what, rule, changes) => {
    const problems = await problemsWith(changes);
    expect(problems.map((problem) => problem.split(':')[0])).toContain(rule);
  });

  it('fails when it read no file', async () => {
    mkdirSync(join(root, 'src'));
    writeFileSync(join(root, 'tsconfig.json'), LAWFUL['tsconfig.json']);
    const { problems, filesRead } = await checkDependencies(root);
    expect(filesRead).toBe(0);
    expect(problems).toContain('not-read: no file under src/');
  });

  it('fails when it passed over a file', async () => {
    // The cruiser leaves dot files and what its configuration excludes; both are still files of the product.
    const problems = await problemsWith({ 'src/base/.hidden.ts': "import '../store/store.js';\n" });
    expect(problems.some((problem) => problem.includes('.hidden.ts'))).toBe(true);
  });

  it('fails when it named a file but could not parse it', () => {
    const texts: Record<string, string> = {
      'src/a.ts': "import {\n  b,\n} from './b.js';\n",
      'src/b.ts': 'export const b = 1;\n',
      'src/c.ts': "import { b } from './b.js';\n",
    };
    const found = new Map([
      ['src/a.ts', 0],
      ['src/b.ts', 0],
      ['src/c.ts', 1],
    ]);
    expect(unreadFiles(Object.keys(texts), found, (path) => texts[path])).toEqual(['src/a.ts']);
  });
});

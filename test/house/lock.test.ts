import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkTree } from '../../scripts/check-tree.mjs';
import { missingFromLock, platformEntry } from '../../scripts/complete-lock.mjs';
import { nodeModulesGap } from '../../scripts/node-modules.mjs';

let root = '';

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'galleon-house-'));
});
afterEach(() => {
  rmSync(root, { recursive: true, force: true });
});

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const digest = 'sha512-AAAA';

describe('the lock', () => {
  it('answers every dependency, from the package itself or above it', () => {
    const packages = {
      '': { dependencies: { a: '1.0.0' }, devDependencies: { tool: '1.0.0' } },
      'node_modules/a': {
        version: '1.0.0',
        dependencies: { b: '1.0.0' },
        optionalDependencies: { 'a-darwin-arm64': '1.0.0' },
      },
      'node_modules/a/node_modules/b': { version: '1.0.0', dependencies: { c: '1.0.0' } },
      'node_modules/c': { version: '1.0.0' },
    };
    expect(missingFromLock(packages)).toEqual([
      { from: '', name: 'tool', version: '1.0.0', optional: false },
      { from: 'node_modules/a', name: 'a-darwin-arm64', version: '1.0.0', optional: true },
    ]);
  });

  it('knows a platform by its name, and nothing else', () => {
    expect(platformEntry('@x/binding-win32-x64-msvc', '1.2.3', true)).toEqual({
      version: '1.2.3',
      cpu: ['x64'],
      dev: true,
      optional: true,
      os: ['win32'],
    });
    expect(platformEntry('plain-package', '1.2.3', false)).toBeNull();
    expect(platformEntry('x-darwin-arm64', '^1.2.3', false)).toBeNull();
  });

  it('is compared with what is installed', () => {
    write(
      'package-lock.json',
      JSON.stringify({
        packages: {
          '': {},
          'node_modules/a': { version: '2.0.0' },
          'node_modules/o': { version: '1.0.0', optional: true },
        },
      }),
    );
    expect(nodeModulesGap(root)).toBe('node_modules is missing');
    write('node_modules/.package-lock.json', JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0' } } }));
    expect(nodeModulesGap(root)).toBe('node_modules/a is 1.0.0, not 2.0.0');
    write('node_modules/.package-lock.json', JSON.stringify({ packages: {} }));
    expect(nodeModulesGap(root)).toBe('node_modules/a is missing');
    write('node_modules/.package-lock.json', JSON.stringify({ packages: { 'node_modules/a': { version: '2.0.0' } } }));
    expect(nodeModulesGap(root)).toBeNull();
  });
});

describe('the tree check', () => {
  async function problemsWith(changes: Record<string, string>): Promise<string> {
    write(
      'package-lock.json',
      JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0', integrity: digest } } }),
    );
    write('src/base/a.ts', 'export const a = 1;\n');
    for (const [path, text] of Object.entries(changes)) write(path, text);
    return (await checkTree(root)).problems.join('\n');
  }

  it('accepts a tree that is in order', async () => {
    expect(await problemsWith({})).toBe('');
  });

  const brokenLock = (entry: object): Record<string, string> => ({
    'package-lock.json': JSON.stringify({ packages: { 'node_modules/a': { version: '1.0.0', ...entry } } }),
  });

  it.each([
    ['a file of more than 500 lines', 'wants splitting', { 'src/base/long.ts': 'x;\n'.repeat(501) }],
    ['a native file of more than 500 lines', 'wants splitting', { 'native/long.cc': 'x;\n'.repeat(501) }],
    ['a shell script that does not parse', 'syntax error', { 'scripts/x.sh': '#!/usr/bin/env bash\nif true; then\n' }],
    ['a path of one machine', 'README.md:2', { 'README.md': `# x\nsee ${['', 'home', 'me'].join('/')}/x\n` }],
    ['a lock without digests', 'no digest', brokenLock({})],
    [
      'a lock that names hosts',
      'names the host',
      brokenLock({ integrity: digest, resolved: 'https://example.org/a.tgz' }),
    ],
    ['a lock with a hole', 'has no entry', brokenLock({ integrity: digest, dependencies: { b: '1.0.0' } })],
  ])('catches %s', async (_what, expected, changes: Record<string, string>) => {
    expect(await problemsWith(changes)).toContain(expected);
  });

  it('lets generated code be long, and asks no digest for machines that we do not run on', async () => {
    const lock = {
      packages: { 'node_modules/a': { version: '1.0.0', os: ['darwin'], cpu: ['arm64'], optional: true } },
    };
    const changes = { 'src/ipc/generated/control.ts': 'x;\n'.repeat(5000), 'package-lock.json': JSON.stringify(lock) };
    expect(await problemsWith(changes)).toBe('');
  });

  it('fails when it read no source file', async () => {
    rmSync(join(root, 'src'), { recursive: true, force: true });
    write('package-lock.json', JSON.stringify({ packages: {} }));
    expect((await checkTree(root)).problems).toEqual(['no source file was read']);
  });
});

import { ESLint } from 'eslint';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '../..');
const eslint = new ESLint({ cwd: root });

/** Rules that `text` breaks when it stands in the place of an existing file (types are looked up through the project). */
async function rulesBrokenBy(text: string, path: string): Promise<string[]> {
  const results = await eslint.lintText(text, { filePath: join(root, path) });
  return results.flatMap((result) => result.messages).map((message) => message.ruleId ?? message.message);
}

describe('lint', () => {
  it.each([
    ['Date.now()', 'export const at = Date.now();\n'],
    ['Date.now handed on', 'export const clock = { now: Date.now };\n'],
    ['Math.random()', 'export const dice = Math.random();\n'],
    ['performance.now()', 'export const at = performance.now();\n'],
    ['process.hrtime', 'export const at = process.hrtime.bigint();\n'],
    ['new Date()', 'export const at = new Date();\n'],
    ['Date()', 'export const at = Date();\n'],
    ['taking Date apart', 'export const { now } = Date;\n'],
  ])('forbids %s in src/', async (_what, text) => {
    expect(await rulesBrokenBy(text, 'src/base/clock.ts')).toContain('no-restricted-syntax');
  });

  it('allows a date that came from the clock', async () => {
    expect(await rulesBrokenBy('export const at = (ms: number) => new Date(ms);\n', 'src/base/clock.ts')).toEqual([]);
  });

  it('allows the real clock where it lives, and in tests', async () => {
    const text = 'export const at = Date.now();\n';
    expect(await rulesBrokenBy(text, 'src/base/system-clock.ts')).toEqual([]);
    expect(await rulesBrokenBy(text, 'test/house/lint-rules.test.ts')).toEqual([]);
  });

  it('sees types: a promise that nobody awaits', async () => {
    const text = 'async function later(): Promise<void> {}\nexport function now(): void {\n  later();\n}\n';
    expect(await rulesBrokenBy(text, 'src/base/clock.ts')).toContain('@typescript-eslint/no-floating-promises');
    expect(await rulesBrokenBy(text, 'test/house/lint-rules.test.ts')).toContain(
      '@typescript-eslint/no-floating-promises',
    );
  });

  it('sees types in the scripts too', async () => {
    const text = 'async function later() {}\nexport function now() {\n  later();\n}\n';
    expect(await rulesBrokenBy(text, 'scripts/run-command.mjs')).toContain('@typescript-eslint/no-floating-promises');
  });
});

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runChild } from './child.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'galleon-bad-arguments-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

for (const seed of [1, 20261]) {
  it(`no call from JavaScript crashes the process (seed ${String(seed)})`, async () => {
    const outcome = await runChild(new URL('./bad-arguments-child.ts', import.meta.url), [folder, String(seed)]);
    expect(outcome.stderr).not.toContain('ERROR: AddressSanitizer');
    expect(outcome.stderr).not.toContain('runtime error:');
    expect(outcome).toMatchObject({ status: 0, signal: null });
    const [made, answered] = [...outcome.stdout.matchAll(/\d+/g)].map(Number);
    // Both kinds happened, or the test has lost its point.
    expect(made).toBeGreaterThan(10_000);
    expect(answered).toBeGreaterThan(1000);
    expect(answered).toBeLessThan(made ?? 0);
  });
}

import { appendFileSync, cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { checkProto } from '../../scripts/check-proto.mjs';

const root = join(import.meta.dirname, '../..');
let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'galleon-proto-test-'));
  cpSync(join(root, 'src/ipc'), join(folder, 'src/ipc'), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

it('accepts generated code that is up to date', async () => {
  expect(await checkProto(folder)).toEqual([]);
});

it('catches a proto file that was changed alone', async () => {
  appendFileSync(join(folder, 'src/ipc/control.proto'), 'message Added { string name = 1; }\n');
  expect((await checkProto(folder)).join()).toContain('src/ipc/generated/control.ts differs');
});

it('catches generated code that was edited by hand, and a file that no proto gives', async () => {
  appendFileSync(join(folder, 'src/ipc/generated/control.ts'), '// by hand\n');
  writeFileSync(join(folder, 'src/ipc/generated/old.ts'), 'export {};\n');
  expect(await checkProto(folder)).toHaveLength(2);
});

it('catches a proto file that does not parse', async () => {
  writeFileSync(join(folder, 'src/ipc/control.proto'), 'syntax = ;\n');
  expect((await checkProto(folder)).join()).toContain('buf generate failed');
});

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findProgram } from '../../scripts/debian-packages.mjs';
import { findPlaintext, sha256 } from '../../scripts/quick-start-image.mjs';
import { runCommand } from '../../scripts/run-command.mjs';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'galleon-house-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe('looking for plaintext', () => {
  it('finds words that lie across two reads', async () => {
    const bytes = Buffer.alloc(3 * 2 ** 20, 'x');
    bytes.write('a secret sentence', 2 ** 20 - 5);
    mkdirSync(join(folder, 'journal'));
    writeFileSync(join(folder, 'journal/0001'), bytes);
    writeFileSync(join(folder, 'other'), Buffer.alloc(2 ** 20, 'y'));
    const { found, bytesRead } = await findPlaintext(folder, 'a secret sentence');
    expect(found).toEqual([join(folder, 'journal/0001')]);
    expect(bytesRead).toBe(4 * 2 ** 20);
  });

  it('does not find what is not there', async () => {
    writeFileSync(join(folder, 'one'), 'a secret');
    writeFileSync(join(folder, 'two'), ' sentence');
    expect((await findPlaintext(folder, 'a secret sentence')).found).toEqual([]);
  });
});

describe('running a command', () => {
  it('collects what it says, and its status', async () => {
    const result = await runCommand('sh', ['-c', 'cat; echo wrong >&2; exit 7'], { input: 'given' });
    expect(result).toEqual({ status: 7, stdout: 'given', stderr: 'wrong\n' });
  });

  it('says that a signal ended it, or that there is no such program', async () => {
    expect((await runCommand('sh', ['-c', 'kill -9 $$'])).status).toBe(137);
    expect((await runCommand(join(folder, 'nothing'), [])).status).toBe(127);
  });

  it('survives a program that does not read its input', async () => {
    expect((await runCommand('true', [], { input: 'x'.repeat(2 ** 22) })).status).toBe(0);
  });
});

it('hashes as sha256sum does', async () => {
  writeFileSync(join(folder, 'file'), 'some bytes');
  const theirs = spawnSync('sha256sum', [join(folder, 'file')], { encoding: 'utf8' }).stdout.split(' ')[0];
  expect(await sha256(join(folder, 'file'))).toBe(theirs);
});

it('finds programs that can be run, and no folders', () => {
  expect(findProgram('sh')).toMatch(/\/sh$/);
  expect(findProgram('no-such-program-anywhere')).toBeNull();
  const before = process.env['PATH'];
  try {
    process.env['PATH'] = folder;
    mkdirSync(join(folder, 'a-folder'));
    writeFileSync(join(folder, 'not-executable'), '');
    writeFileSync(join(folder, 'a-program'), '#!/bin/sh\n');
    chmodSync(join(folder, 'a-program'), 0o755);
    chmodSync(join(folder, 'not-executable'), 0o644);
    expect(findProgram('a-folder')).toBeNull();
    expect(findProgram('not-executable')).toBeNull();
    expect(findProgram('a-program')).toBe(join(folder, 'a-program'));
  } finally {
    process.env['PATH'] = before;
  }
});

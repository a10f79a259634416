import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type * as AddonModule from '../../src/io/addon.js';
import type { FileError } from '../../src/io/file-error.js';
import type { FileId } from '../../src/io/files.js';
import { NativeFiles } from '../../src/io/native-files.js';

/** Errnos that the next calls come back with instead of being made. */
const failures: number[] = [];

vi.mock('../../src/io/addon.js', async (original) => {
  const { addon } = await original<typeof AddonModule>();
  const failing =
    <T extends unknown[]>(call: (...values: T) => number) =>
    (...values: T): number => {
      const errno = failures.shift();
      if (errno === undefined) return call(...values);
      queueMicrotask(() => (values.at(-1) as (outcome: number) => void)(errno));
      return 0;
    };
  return { addon: { ...addon, sync: failing(addon.sync), writeback: failing(addon.writeback) } };
});

const EIO = -5;
const ENOSPC = -28;

describe('a write that the kernel could not store', () => {
  const files = new NativeFiles();
  let folder = '';
  let file = -1 as FileId;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'galleon-failed-sync-'));
    file = await files.open(join(folder, 'f'), 'create');
  });

  afterEach(async () => {
    await files.close(file);
    rmSync(folder, { recursive: true, force: true });
  });

  const faultOf = async (attempt: Promise<void>): Promise<string> => {
    const thrown: unknown = await attempt.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return thrown === undefined ? 'none' : (thrown as FileError).code;
  };

  it('is reported by every sync after it, though the kernel tells once', async () => {
    failures.push(EIO);
    expect(await faultOf(files.sync(file))).toBe('IO');
    expect(await faultOf(files.sync(file))).toBe('IO');
    expect(await faultOf(files.writeback(file, 0, 0))).toBe('IO');
  });

  it('is reported by the sync after a writeback that met it', async () => {
    failures.push(ENOSPC);
    expect(await faultOf(files.writeback(file, 0, 0))).toBe('NO_SPACE');
    expect(await faultOf(files.sync(file))).toBe('NO_SPACE');
  });

  it('is forgotten with the descriptor, not with the number', async () => {
    failures.push(EIO);
    expect(await faultOf(files.sync(file))).toBe('IO');
    await files.close(file);
    file = await files.open(join(folder, 'f'), 'write');
    expect(await faultOf(files.sync(file))).toBe('none');
  });
});

import { existsSync, statSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { FileError } from '../../src/io/file-error.js';
import { NativeFiles } from '../../src/io/native-files.js';
import { SegmentFiles } from '../../src/store/journal/segment-files.js';
import { temporaryFolder } from '../base/temporary-folder.js';

// While the page cache of a segment was dropped its file could be removed, and the descriptor stayed: the next segment of
// that slot was written to a file without a name, and lost with the next start.
it('never keeps the descriptor of a file that is removed', async () => {
  const files = new NativeFiles();
  const segments = new SegmentFiles({ directory: await temporaryFolder(), openMax: 8 }, { files });
  onTestFinished(() => segments.close());
  await files.allocate(await segments.open(3, 'create'), 0, 4096);
  const path = segments.path(3);

  segments.pin(3);
  const removed = segments.remove(3);
  const found = segments.openIfThere(3);
  const again = expect(segments.open(3)).rejects.toThrow(FileError);
  for (let n = 0; n < 10; n += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(existsSync(path)).toBe(true);
  segments.unpin(3);
  await removed;
  expect(await found).toBeNull();
  await again;
  expect(existsSync(path)).toBe(false);

  await files.allocate(await segments.open(3, 'create'), 0, 8192);
  expect(statSync(path).size).toBe(8192);
});

it('makes a file although somebody else looks for it in vain', async () => {
  const files = new NativeFiles();
  const segments = new SegmentFiles({ directory: await temporaryFolder(), openMax: 8 }, { files });
  onTestFinished(() => segments.close());
  const found = segments.openIfThere(3);
  const made = segments.open(3, 'create');
  expect(await found).toBeNull();
  await files.allocate(await made, 0, 4096);
  expect(statSync(segments.path(3)).size).toBe(4096);
});

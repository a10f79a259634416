import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { NativeFiles } from '../../src/io/native-files.js';
import { SegmentWindow } from '../../src/store/journal/segment-window.js';
import { RECORD_BYTES_MAX } from '../../src/store/limits.js';
import { temporaryFolder } from '../base/temporary-folder.js';

const MIB = 1024 * 1024;
const SEGMENT_BYTES = 64 * MIB;

it('has room for a record that claims bytes behind the end of a truncated file, and zeros there', async () => {
  const path = join(await temporaryFolder(), 'segment');
  const fileBytes = 16 * MIB - 4096;
  await writeFile(path, Buffer.alloc(fileBytes, 7));
  const files = new NativeFiles();
  const file = await files.open(path, 'read');
  try {
    const window = new SegmentWindow({ files, unread: () => undefined });
    await window.use(file, SEGMENT_BYTES);
    await window.at(0, 4096);
    const offset = fileBytes - MIB;
    const at = await window.at(offset, RECORD_BYTES_MAX);
    const record = window.bytes.subarray(at, at + RECORD_BYTES_MAX);
    expect(record.length).toBe(RECORD_BYTES_MAX);
    expect(record.subarray(0, MIB).every((byte) => byte === 7)).toBe(true);
    expect(record.subarray(MIB).every((byte) => byte === 0)).toBe(true);
  } finally {
    await files.close(file);
  }
});

it('shows nothing of what it held before', async () => {
  const path = join(await temporaryFolder(), 'segment');
  await writeFile(path, Buffer.alloc(MIB, 7));
  const files = new NativeFiles();
  const file = await files.open(path, 'write');
  try {
    const window = new SegmentWindow({ files, unread: () => undefined });
    await window.use(file, MIB);
    await window.at(0, MIB);
    await truncate(path, 4096);
    await window.use(file, MIB);
    const at = await window.at(0, MIB);
    expect(window.bytes.subarray(at, at + 4096).every((byte) => byte === 7)).toBe(true);
    expect(window.bytes.subarray(at + 4096, at + MIB).every((byte) => byte === 0)).toBe(true);
  } finally {
    await files.close(file);
  }
});

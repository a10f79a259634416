/** What a start does with the files of segments that earlier ones wrote. */
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import type { Files } from '../io/files.js';
import type { ScanResult } from './journal/journal-scan.js';
import type { SegmentFiles } from './journal/segment-files.js';
import { PAGE_BYTES } from './limits.js';

interface OldSegments {
  readonly files: Files;
  readonly segmentFiles: SegmentFiles;
}

/**
 * What lies behind the durable cut is never read again: its space goes back, so that a restart costs a page and not a
 * segment. By truncation, which every file system can do.
 */
export async function giveBackTail(
  result: ScanResult,
  { files, segmentFiles, log }: OldSegments & { readonly log: Log },
): Promise<void> {
  const from = Math.ceil(result.cut / PAGE_BYTES) * PAGE_BYTES;
  if (from >= result.last.segmentBytes) return;
  try {
    const file = await segmentFiles.open(result.last.slot);
    await files.truncate(file, from);
  } catch (thrown) {
    log.debug({ error: messageOf(thrown) }, 'store: the file system gives back no part of a file');
  }
}

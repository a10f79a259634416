import { messageOf } from '../base/errors.js';
import { Operation } from '../device/block-device.js';
import { submitAndWait } from '../device/submit-and-wait.js';
import type { VolumeHandle } from '../volume/volume-host.js';
import { ControlError } from './control-error.js';
import { IMAGE_CHUNK_BYTES_MAX, IMAGE_EXTENTS_MAX, IMAGE_READS_AHEAD_MAX } from './limits.js';

export interface ImagePiece {
  readonly offsetBytes: number;
  readonly data: Uint8Array;
}

/**
 * What a volume holds, in order; ranges that are left out read as zeros. A few pieces are read ahead, and no more than
 * that while the consumer is slow. Ends with an error rather than with a piece that could not be read.
 */
export async function* readImage(handle: VolumeHandle, name: string): AsyncGenerator<ImagePiece, void, void> {
  const ahead: Promise<ImagePiece | ControlError>[] = [];
  for await (const [offsetBytes, lengthBytes] of allocatedRanges(handle, name)) {
    ahead.push(readPiece(handle, name, offsetBytes, lengthBytes));
    if (ahead.length >= IMAGE_READS_AHEAD_MAX) yield await next(ahead);
  }
  while (ahead.length > 0) yield await next(ahead);
}

async function next(ahead: Promise<ImagePiece | ControlError>[]): Promise<ImagePiece> {
  const piece = await ahead.shift();
  if (piece instanceof ControlError) throw piece;
  return piece as ImagePiece;
}

/** Allocated ranges of at most one piece each. The end is that of the moment when it was begun. */
async function* allocatedRanges(handle: VolumeHandle, name: string): AsyncGenerator<[number, number], void, void> {
  const endBytes = handle.sizeBytes;
  let at = 0;
  while (at < endBytes) {
    let extents;
    try {
      extents = await handle.extents(at, endBytes - at, IMAGE_EXTENTS_MAX);
    } catch (thrown) {
      throw unreadable(name, at, messageOf(thrown));
    }
    for (const extent of extents) {
      const extentEnd = at + extent.lengthBytes;
      if (!extent.allocated) at = extentEnd;
      while (at < extentEnd) {
        const lengthBytes = Math.min(IMAGE_CHUNK_BYTES_MAX, extentEnd - at);
        yield [at, lengthBytes];
        at += lengthBytes;
      }
    }
  }
}

/** Resolves to an error instead of rejecting: nobody may be waiting yet. */
async function readPiece(
  handle: VolumeHandle,
  name: string,
  offsetBytes: number,
  lengthBytes: number,
): Promise<ImagePiece | ControlError> {
  const data = new Uint8Array(lengthBytes);
  const fault = await submitAndWait(handle, {
    operation: Operation.READ,
    offsetBytes,
    lengthBytes,
    flags: 0,
    data,
    dataOffset: 0,
  });
  if (fault === null) return { offsetBytes, data };
  return unreadable(name, offsetBytes, fault.code === 'IO' ? fault.detail : fault.code);
}

function unreadable(name: string, offsetBytes: number, detail: string): ControlError {
  return new ControlError(`volume ${name} cannot be read at offset ${offsetBytes}: ${detail}`, {
    code: 'DAMAGED',
    subject: name,
  });
}

import { type FileHandle, open } from 'node:fs/promises';
import { errnoOf, messageOf } from '../../base/errors.js';
import { formatSize } from '../../base/size.js';
import type { ControlClient } from '../../ipc/client.js';
import type { ImageChunk } from '../../ipc/generated/control.js';
import { failure } from '../cli-error.js';
import type { Progress } from './progress.js';
import { dataRuns } from './zero-runs.js';

/** Writes the image of a volume to the file at `path`, which exists and is empty. Zeros become holes. */
export async function exportRaw(
  client: ControlClient,
  volume: string,
  path: string,
  startProgress: (sizeBytes: number) => Progress,
): Promise<number> {
  const file = await open(path, 'r+');
  let progress: Progress | undefined;
  let sizeBytes: number | undefined;
  try {
    for await (const chunk of client.exportImage(volume)) {
      if (sizeBytes === undefined) {
        ({ sizeBytes } = chunk);
        progress = startProgress(sizeBytes);
        await file.truncate(sizeBytes);
      }
      await writeChunk(file, chunk, sizeBytes);
      progress?.update(chunk.offsetBytes + chunk.data.length);
    }
    if (sizeBytes === undefined) throw failure('the daemon ended the image before it began; look at its log');
    progress?.update(sizeBytes);
    return sizeBytes;
  } catch (thrown) {
    if (errnoOf(thrown) === 'ENOSPC') throw failure(`there is no room for the image: ${messageOf(thrown)}`, thrown);
    throw thrown;
  } finally {
    progress?.stop();
    await file.close();
  }
}

async function writeChunk(file: FileHandle, chunk: ImageChunk, sizeBytes: number): Promise<void> {
  const { offsetBytes } = chunk;
  const data = Buffer.from(chunk.data.buffer, chunk.data.byteOffset, chunk.data.byteLength);
  if (offsetBytes + data.length > sizeBytes) {
    throw failure(`the daemon sent data past the end of an image of ${formatSize(sizeBytes)}; it and gfs do not match`);
  }
  for (const { start, end } of dataRuns(data)) {
    let done = start;
    while (done < end) {
      const { bytesWritten } = await file.write(data, done, end - done, offsetBytes + done);
      done += bytesWritten;
    }
  }
}

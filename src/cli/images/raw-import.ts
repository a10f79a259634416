import type { ControlClient } from '../../ipc/client.js';
import type { ImportStream } from '../../ipc/client-import.js';
import { IMAGE_MESSAGE_BYTES_MAX } from '../../ipc/client-limits.js';
import type { CreateVolumeRequest, Volume } from '../../ipc/generated/control.js';
import { CliError, failure } from '../cli-error.js';
import { interruptible } from '../interruptible.js';
import type { ImageSource } from './image-source.js';
import type { Progress } from './progress.js';
import { dataRuns, GRAIN_BYTES } from './zero-runs.js';

/**
 * Makes a volume of a raw image. Zeros are not sent. Whatever goes wrong, Ctrl-C included, this returns only after
 * the daemon has removed what was begun (or says that it could not be heard).
 */
export async function importRaw(
  client: ControlClient,
  source: ImageSource,
  create: CreateVolumeRequest,
  signal: AbortSignal,
  progress: Progress,
): Promise<Volume> {
  const stream = client.importImage(create);
  try {
    await interruptible(sendData(stream, source, signal, progress), signal);
  } catch (thrown) {
    if (await stream.abandon()) throw thrown;
    throw new CliError(
      `the daemon has not confirmed that ${create.name} is removed; look at \`gfs volume get ${create.name}\``,
      { code: 'FAILED' },
      { cause: thrown },
    );
  }
  // From here the daemon makes it durable; an interruption no longer leaves anything half.
  return stream.complete();
}

async function sendData(
  stream: ImportStream,
  source: ImageSource,
  signal: AbortSignal,
  progress: Progress,
): Promise<void> {
  if (source.allZeros) return;
  for (let offset = 0; offset < source.sizeBytes && !signal.aborted;) {
    const wanted = Math.min(IMAGE_MESSAGE_BYTES_MAX, source.sizeBytes - offset);
    // A fresh buffer each time: the stream keeps what it has not sent yet. Past the end of the file it stays zero,
    // so that the last piece is a whole number of the smallest blocks.
    const bytes = Buffer.alloc(roundUp(wanted));
    const length = await readFully(source, bytes, offset, wanted);
    if (length < wanted) throw failure(`${source.path} became shorter while it was read; nothing was imported`);
    for (const { start, end } of dataRuns(bytes)) await stream.write(offset + start, bytes.subarray(start, end));
    offset += wanted;
    progress.update(offset);
  }
}

async function readFully(source: ImageSource, into: Buffer, offset: number, wanted: number): Promise<number> {
  let done = 0;
  while (done < wanted) {
    const { bytesRead } = await source.file.read(into, done, wanted - done, offset + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / GRAIN_BYTES) * GRAIN_BYTES;
}

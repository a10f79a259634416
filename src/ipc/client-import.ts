import { assert } from '../base/assert.js';
import { IMAGE_MESSAGE_BYTES_MAX } from './client-limits.js';
import { type OpenUpload, type UploadDependencies, UploadStream } from './client-upload.js';
import type { CreateVolumeRequest, ImportMessage, Volume } from './generated/control.js';

/** A volume that is being filled with an image. It comes to exist only if `complete` resolves. */
export class ImportStream {
  readonly #upload: UploadStream<ImportMessage, Volume>;

  constructor(open: OpenUpload<ImportMessage, Volume>, create: CreateVolumeRequest, dependencies: UploadDependencies) {
    this.#upload = new UploadStream(open, message({ create }), dependencies);
  }

  /** Sends one range. Resolves when flow control lets the next one go; throws what the daemon says. */
  write(offsetBytes: number, data: Uint8Array): Promise<void> {
    assert(data.byteLength <= IMAGE_MESSAGE_BYTES_MAX, 'an image message is at most 1 MiB');
    const buffer = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    return this.#upload.send(message({ offsetBytes, data: buffer }));
  }

  /** Ends the import. The volume exists, durable, when this resolves. */
  complete(): Promise<Volume> {
    return this.#upload.complete(message({ complete: true }));
  }

  /** As `UploadStream.abandon`. */
  abandon(): Promise<boolean> {
    return this.#upload.abandon();
  }
}

function message(fields: Partial<ImportMessage>): ImportMessage {
  return { create: undefined, offsetBytes: 0, data: EMPTY, complete: false, ...fields };
}

const EMPTY = Buffer.alloc(0);

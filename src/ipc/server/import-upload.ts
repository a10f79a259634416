import { status } from '@grpc/grpc-js';
import type { Volumes } from '../../control/volumes.js';
import type { ImportMessage, Volume } from '../generated/control.js';
import { CallRefused } from './to-status.js';
import type { UploadKind } from './upload-call.js';
import { createRequestOf, toVolume } from './volume-messages.js';

/** An image that becomes a volume. */
export function importUpload(volumes: Volumes): UploadKind<ImportMessage, Volume> {
  return {
    name: 'import',
    begin: async (first, caller) => {
      if (first.create === undefined) {
        throw new CallRefused(status.INVALID_ARGUMENT, 'the first message of an import names the volume to create');
      }
      const session = await volumes.beginImport(createRequestOf(first.create), caller);
      return {
        abort: () => session.abort(),
        take: async (message) => {
          if (message !== first && message.create !== undefined) {
            throw new CallRefused(
              status.INVALID_ARGUMENT,
              'only the first message of an import names the volume to create',
            );
          }
          if (message.data.length > 0) await session.write(message.offsetBytes, message.data);
          return message.complete ? toVolume(await session.complete()) : null;
        },
      };
    },
  };
}

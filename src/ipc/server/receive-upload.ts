import { status } from '@grpc/grpc-js';
import type { ControlPlane } from '../../control/control-plane.js';
import type { ReceiveMessage, ReceiveResponse } from '../generated/snapshots.js';
import { toSnapshot } from './snapshot-messages.js';
import { CallRefused } from './to-status.js';
import type { UploadKind } from './upload-call.js';
import { createRequestOf, toVolume } from './volume-messages.js';

/** A stream that becomes a volume, or the next state of one. */
export function receiveUpload(plane: ControlPlane): UploadKind<ReceiveMessage, ReceiveResponse> {
  return {
    name: 'stream',
    begin: (first, caller) => {
      if (first.create === undefined) {
        throw new CallRefused(status.INVALID_ARGUMENT, 'the first message of a stream names the volume that gets it');
      }
      const recovery =
        first.recovery.length === 0 ? null : { file: first.recovery, passphrase: first.recoveryPassphrase };
      const receiver = plane.receive(createRequestOf(first.create), recovery, caller);
      return Promise.resolve({
        abort: () => receiver.abort(),
        take: async (message: ReceiveMessage) => {
          if (message !== first && message.create !== undefined) {
            throw new CallRefused(
              status.INVALID_ARGUMENT,
              'only the first message of a stream names the volume that gets it',
            );
          }
          if (message.data.length > 0) await receiver.write(message.data);
          if (!message.complete) return null;
          const { record, snapshot } = await receiver.complete();
          return {
            volume: toVolume(plane.volumes.get(record.id, false)),
            snapshot: toSnapshot(await plane.snapshots.get(snapshot.id)),
          };
        },
      });
    },
  };
}

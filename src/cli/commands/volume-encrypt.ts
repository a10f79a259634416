import type { KeyCalls } from '../../ipc/client-keys.js';
import type { VolumeKeysResponse } from '../../ipc/generated/keys.js';
import { command, type Command } from '../command.js';
import { changeText } from '../output/key-text.js';
import { VOLUME } from './volume-word.js';

export const volumeEncrypt = change(
  'encrypt',
  'encrypt a volume, while it is used',
  'New writes are encrypted at once. Blocks that were written before are encrypted in the background, those of snapshots\n' +
    'too; then what held them in clear is taken off the disk. `gfs key status` shows how far that is. What a clone shows as\n' +
    'well stays as it is for as long as both are there.',
  (keys, volume) => keys.encrypt(volume),
);
export const volumeDecrypt = change(
  'decrypt',
  'store a volume without encryption, while it is used',
  'What is written from then on lies on the disk in clear, and in the background what was written before is put there in\n' +
    'clear too; then its data keys are destroyed. `gfs key status` shows how far that is.',
  (keys, volume) => keys.decrypt(volume),
);

function change(
  verb: string,
  summary: string,
  details: string,
  ask: (keys: KeyCalls, volume: string) => Promise<VolumeKeysResponse>,
): Command {
  return command({
    verb: ['volume', verb],
    summary,
    details,
    words: { volume: VOLUME },
    options: {},
    async run({ volume }, _options, session) {
      const response = await ask((await session.client()).keys, volume);
      const { id, name, keyNumber, retired } = response;
      session.output.answer({ id, name, keyNumber, retired }, () => changeText(response));
    },
  });
}

import type { KeyCalls } from '../../ipc/client-keys.js';
import type { VolumeKeysResponse } from '../../ipc/generated/keys.js';
import { command, type Command } from '../command.js';
import { changeText } from '../output/key-text.js';
import { VOLUME } from './volume-word.js';

export const volumeEncrypt = change(
  'encrypt',
  'encrypt the new writes of a volume, while it is used',
  'Blocks that were written before stay as they are until they are overwritten; `gfs key status` shows that there may be\n' +
    'some. A copy into a new encrypted volume leaves none: gfs volume export-image, gfs volume import.',
  (keys, volume) => keys.encrypt(volume),
);
export const volumeDecrypt = change(
  'decrypt',
  'write new blocks of a volume without encryption, while it is used',
  'What is written from then on lies on the disk in clear. Blocks that were written before stay encrypted, and keep their\n' +
    'data keys, until they are overwritten.',
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

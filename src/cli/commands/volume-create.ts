import { formatSize, parseSize } from '../../base/size.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { toVolumeView } from '../output/volume-view.js';
import { NEW_VOLUME_OPTIONS, newVolumeName, newVolumeRequest } from './new-volume.js';

export const volumeCreate = command({
  verb: ['volume', 'create'],
  summary: 'make a volume; it takes space only as it is written',
  details: 'Example:\n  gfs volume create data --size 10G --storage-class encrypted-storage --label team=web',
  words: { name: { summary: '1 to 63 of a-z, 0-9, "-", "_", "."; --name says the same' } },
  options: {
    ...NEW_VOLUME_OPTIONS,
    size: { kind: 'text', alias: 's', summary: 'size, such as 512M, 10G, 1.5T or plain bytes', value: 'SIZE' },
  },
  async run(words, options, session) {
    const { output } = session;
    const name = newVolumeName(words.name, options.name, 'gfs volume create NAME --size SIZE');
    if (options.size === undefined) throw usageError(`a size is missing: gfs volume create ${name} --size 10G`);
    const request = newVolumeRequest(name, parseSize(options.size), options);
    const volume = await (await session.client()).createVolume(request);
    output.answer(
      toVolumeView(volume),
      () =>
        `${volume.name} created: ${formatSize(volume.sizeBytes)}, ${volume.storageClass}, id ${volume.id}\n` +
        `attach it after: gfs volume export ${volume.name}`,
    );
  },
});

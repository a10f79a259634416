import { formatSize, parseSize } from '../../base/size.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { toVolumeView } from '../output/volume-view.js';
import { parseCount, parseLabels } from '../session.js';

export const VOLUME_TYPES = ['ephemeral', 'persistent', 'shared'] as const;

export const volumeCreate = command({
  verb: ['volume', 'create'],
  summary: 'make a volume; it takes space only as it is written',
  details: 'Example:\n  gfs volume create data --size 10G --storage-class encrypted-storage --label team=web',
  words: { name: { summary: '1 to 63 of a-z, 0-9, "-", "_", "."; --name says the same' } },
  options: {
    name: { kind: 'text', alias: 'n', summary: 'name of the volume', value: 'NAME' },
    size: { kind: 'text', alias: 's', summary: 'size, such as 512M, 10G, 1.5T or plain bytes', value: 'SIZE' },
    'storage-class': {
      kind: 'text',
      alias: 'c',
      summary: 'policy that it is born with (default: encrypted-storage)',
      value: 'CLASS',
      completes: 'storage-class',
    },
    'volume-type': { kind: 'text', alias: 't', summary: 'default: persistent', choices: VOLUME_TYPES },
    replicas: { kind: 'text', alias: 'r', summary: 'copies wanted (default: as the class says)', value: 'N' },
    label: { kind: 'texts', alias: 'l', summary: 'a label', value: 'KEY=VALUE' },
    'block-size': { kind: 'text', summary: 'block size, 4K to 64K (default: as the daemon says)', value: 'SIZE' },
  },
  async run(words, options, session) {
    const { output } = session;
    if (words.name !== undefined && options.name !== undefined && words.name !== options.name) {
      throw usageError(`two names are given, "${words.name}" and "${options.name}"; one volume has one`);
    }
    const name = words.name ?? options.name;
    if (name === undefined) throw usageError('NAME is missing: gfs volume create NAME --size SIZE');
    if (options.size === undefined) throw usageError(`a size is missing: gfs volume create ${name} --size 10G`);
    const request = {
      name,
      sizeBytes: parseSize(options.size),
      storageClass: options['storage-class'] ?? '',
      volumeType: options['volume-type'] ?? '',
      replicas: options.replicas === undefined ? 0 : parseCount('--replicas', options.replicas, 1),
      labels: parseLabels('--label', options.label),
      blockBytes: options['block-size'] === undefined ? 0 : parseSize(options['block-size']),
    };
    const volume = await (await session.client()).createVolume(request);
    output.answer(
      toVolumeView(volume),
      () =>
        `${volume.name} created: ${formatSize(volume.sizeBytes)}, ${volume.storageClass}, id ${volume.id}\n` +
        `attach it after: gfs volume export ${volume.name}`,
    );
  },
});

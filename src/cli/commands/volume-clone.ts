import { formatSize, parseSize } from '../../base/size.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { parseLabels } from '../option-values.js';
import { toVolumeView } from '../output/volume-view.js';

export const volumeClone = command({
  verb: ['volume', 'clone'],
  summary: 'make a volume that begins as a snapshot, or as a volume is now; in an instant',
  details:
    'A clone is a volume like any other: it has a key of its own, and stays when what it was made from is deleted.\n' +
    'Example:\n  gfs volume clone data@before-upgrade --name data-test',
  words: { source: { summary: 'VOLUME@SNAPSHOT, or VOLUME', required: true, completes: 'point' } },
  options: {
    name: { kind: 'text', alias: 'n', summary: 'name of the clone', value: 'NAME' },
    size: { kind: 'text', alias: 's', summary: 'another size; what lies past a smaller one is cut off', value: 'SIZE' },
    label: { kind: 'texts', alias: 'l', summary: 'a label', value: 'KEY=VALUE' },
  },
  async run({ source }, { name, size, label }, session) {
    if (name === undefined) throw usageError(`a name is missing: gfs volume clone ${source} --name NAME`);
    const request = {
      source,
      name,
      sizeBytes: size === undefined ? 0 : parseSize(size),
      labels: parseLabels('--label', label),
    };
    const volume = await (await session.client()).snapshots.clone(request);
    session.output.answer(
      toVolumeView(volume),
      () =>
        `${volume.name} cloned from ${volume.origin}: ${formatSize(volume.sizeBytes)}, id ${volume.id}\n` +
        `attach it after: gfs volume export ${volume.name}`,
    );
  },
});

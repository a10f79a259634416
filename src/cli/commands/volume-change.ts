import { formatSize, parseSize } from '../../base/size.js';
import type { UpdateVolumeRequest, Volume } from '../../ipc/generated/control.js';
import { usageError } from '../cli-error.js';
import { command, type Command } from '../command.js';
import { addLabel } from '../option-values.js';
import { formatLabels, toVolumeView } from '../output/volume-view.js';
import type { Session } from '../session.js';
import { VOLUME } from './volume-word.js';

export const volumeExpand = command({
  verb: ['volume', 'expand'],
  summary: 'make a volume larger, also while it is used',
  details:
    'A connected client keeps the size that it was told until it reconnects; then grow the file system in it.\n' +
    'Example:\n  gfs volume expand data --size +5G',
  words: { volume: VOLUME },
  options: { size: { kind: 'text', alias: 's', summary: 'new size, or +SIZE to add', value: '[+]SIZE' } },
  async run({ volume: reference }, { size }, session) {
    if (size === undefined) throw usageError(`a size is missing: gfs volume expand ${reference} --size +1G`);
    const relative = size.startsWith('+');
    const sizeBytes = parseSize(relative ? size.slice(1) : size);
    const volume = await (await session.client()).expandVolume({ volume: reference, sizeBytes, relative });
    show(session, volume, `${volume.name} is now ${formatSize(volume.sizeBytes)}`);
  },
});

export const volumeRename = command({
  verb: ['volume', 'rename'],
  summary: 'give a volume another name',
  words: { volume: VOLUME, name: { summary: 'the new name', required: true } },
  options: {},
  async run({ volume: reference, name }, _options, session) {
    const volume = await (await session.client()).renameVolume({ volume: reference, name });
    show(session, volume, `${reference} is now ${volume.name}`);
  },
});

export const volumeLabel = command({
  verb: ['volume', 'label'],
  summary: 'set labels (KEY=VALUE) and remove them (KEY-)',
  details: 'Example:\n  gfs volume label data tier=gold old-',
  words: { volume: VOLUME, labels: { summary: 'KEY=VALUE to set, KEY- to remove', many: true } },
  options: {},
  async run({ volume: reference, labels }, _options, session) {
    const change = labelChange(reference, labels);
    if (labels.length === 0) throw usageError(`labels are missing: gfs volume label ${reference} KEY=VALUE KEY-`);
    const volume = await (await session.client()).updateVolume(change);
    show(session, volume, `${volume.name}: ${formatLabels(volume.labels)}`);
  },
});

export const volumeProtect = protection('protect', 'refuse to delete a volume until it is unprotected', true);
export const volumeUnprotect = protection('unprotect', 'allow a volume to be deleted again', false);

function protection(verb: string, summary: string, wanted: boolean): Command {
  return command({
    verb: ['volume', verb],
    summary,
    words: { volume: VOLUME },
    options: {},
    async run({ volume: reference }, _options, session) {
      const request = { volume: reference, setLabels: {}, removeLabels: [], protected: wanted };
      const volume = await (await session.client()).updateVolume(request);
      show(session, volume, `${volume.name} is ${volume.protected ? 'protected' : 'no longer protected'}`);
    },
  });
}

function labelChange(volume: string, labels: readonly string[]): UpdateVolumeRequest {
  const setLabels: Record<string, string> = {};
  const removeLabels: string[] = [];
  for (const label of labels) {
    const equals = label.indexOf('=');
    if (equals >= 1) addLabel(setLabels, label.slice(0, equals), label.slice(equals + 1));
    else if (equals < 0 && label.length > 1 && label.endsWith('-')) removeLabels.push(label.slice(0, -1));
    else throw usageError(`"${label}" is neither KEY=VALUE nor KEY-`);
  }
  return { volume, setLabels, removeLabels, protected: undefined };
}

function show(session: Session, volume: Volume, text: string): void {
  session.output.answer(toVolumeView(volume), () => text);
}

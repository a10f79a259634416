import { command } from '../command.js';
import { toVolumeView } from '../output/volume-view.js';
import { VOLUME } from './volume-word.js';

export const volumeExport = command({
  verb: ['volume', 'export'],
  summary: 'let NBD clients attach a volume; lasts over restarts',
  words: { volume: VOLUME },
  options: { 'read-only': { kind: 'flag', summary: 'clients may only read' } },
  async run({ volume: reference }, options, session) {
    const client = await session.client();
    const volume = await client.exportVolume({ volume: reference, readOnly: options['read-only'] });
    session.output.answer(toVolumeView(volume), () => {
      const { uri = '', socketUri = '', readOnly = false } = volume.export ?? {};
      const uris = [uri, socketUri].filter((text) => text !== '').map((text) => `  ${text}`);
      return [`${volume.name} is exported${readOnly ? ' read-only' : ''}:`, ...uris].join('\n');
    });
  },
});

export const volumeUnexport = command({
  verb: ['volume', 'unexport'],
  summary: 'stop letting NBD clients attach a volume',
  words: { volume: VOLUME },
  options: { force: { kind: 'flag', alias: 'f', summary: 'drop the clients that are connected' } },
  async run({ volume: reference }, { force }, session) {
    const volume = await (await session.client()).unexportVolume({ volume: reference, force });
    session.output.answer(toVolumeView(volume), () => `${volume.name} is no longer exported`);
  },
});

export const volumeKick = command({
  verb: ['volume', 'kick'],
  summary: 'drop one client of a volume, or all',
  words: { volume: VOLUME, address: { summary: 'as `gfs volume get` shows it; without it all are dropped' } },
  options: {},
  async run({ volume: reference, address }, _options, session) {
    const dropped = await (await session.client()).kick(reference, address ?? '');
    session.output.answer({ volume: reference, addresses: dropped }, () =>
      dropped.length === 0 ? `${reference} has no clients` : `dropped ${dropped.join(', ')}`,
    );
  },
});

import { command } from '../command.js';
import type { VolumeExport } from '../../ipc/generated/control.js';
import { pointOf, toSnapshotView } from '../output/snapshot-view.js';
import { toVolumeView } from '../output/volume-view.js';
import { isSnapshot, POINT } from './snapshot-word.js';

export const volumeExport = command({
  verb: ['volume', 'export'],
  summary: 'let NBD clients attach a volume or a snapshot; lasts over restarts',
  details: 'A snapshot (VOLUME@SNAPSHOT) is exported read-only, under that name.',
  words: { volume: POINT },
  options: { 'read-only': { kind: 'flag', summary: 'clients may only read' } },
  async run({ volume: reference }, options, session) {
    const client = await session.client();
    if (isSnapshot(reference)) {
      const snapshot = await client.snapshots.export(reference);
      session.output.answer(toSnapshotView(snapshot), () => exportedText(pointOf(snapshot), snapshot.export));
      return;
    }
    const volume = await client.exportVolume({ volume: reference, readOnly: options['read-only'] });
    session.output.answer(toVolumeView(volume), () => exportedText(volume.name, volume.export));
  },
});

function exportedText(name: string, exported: VolumeExport | undefined): string {
  const { uri = '', socketUri = '', readOnly = false } = exported ?? {};
  const uris = [uri, socketUri].filter((text) => text !== '').map((text) => `  ${text}`);
  return [`${name} is exported${readOnly ? ' read-only' : ''}:`, ...uris].join('\n');
}

export const volumeUnexport = command({
  verb: ['volume', 'unexport'],
  summary: 'stop letting NBD clients attach a volume or a snapshot',
  words: { volume: POINT },
  options: { force: { kind: 'flag', alias: 'f', summary: 'drop the clients that are connected' } },
  async run({ volume: reference }, { force }, session) {
    const client = await session.client();
    if (isSnapshot(reference)) {
      const snapshot = await client.snapshots.unexport({ snapshot: reference, force });
      session.output.answer(toSnapshotView(snapshot), () => `${pointOf(snapshot)} is no longer exported`);
      return;
    }
    const volume = await client.unexportVolume({ volume: reference, force });
    session.output.answer(toVolumeView(volume), () => `${volume.name} is no longer exported`);
  },
});

export const volumeKick = command({
  verb: ['volume', 'kick'],
  summary: 'drop one client of a volume or a snapshot, or all',
  words: { volume: POINT, address: { summary: 'as `gfs volume get` shows it; without it all are dropped' } },
  options: {},
  async run({ volume: reference, address }, _options, session) {
    const client = await session.client();
    const dropped = isSnapshot(reference)
      ? await client.snapshots.kick({ snapshot: reference, address: address ?? '' })
      : await client.kick(reference, address ?? '');
    session.output.answer({ volume: reference, addresses: dropped }, () =>
      dropped.length === 0 ? `${reference} has no clients` : `dropped ${dropped.join(', ')}`,
    );
  },
});

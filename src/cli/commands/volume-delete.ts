import { formatSize } from '../../base/size.js';
import type { DeleteVolumeResponse, Volume } from '../../ipc/generated/control.js';
import type { ControlClient } from '../../ipc/client.js';
import { failure, usageError } from '../cli-error.js';
import { command } from '../command.js';
import { toVolumeView } from '../output/volume-view.js';
import { confirm } from '../questions.js';
import type { Session } from '../session.js';
import { VOLUME } from './volume-word.js';

export const volumeDelete = command({
  verb: ['volume', 'delete'],
  summary: 'delete a volume, as the reclaim policy of its class says',
  details:
    'Under the policy Retain the data is kept (`gfs volume list --retained`) until `gfs volume purge`; nothing is\n' +
    'asked. Snapshots share the fate of the volume. Under Delete it is gone, so a terminal is asked and a script needs --force.',
  words: { volume: VOLUME },
  options: {
    force: {
      kind: 'flag',
      alias: 'f',
      summary: 'ask nothing, drop connections, and erase at once whatever the policy',
    },
    'with-snapshots': { kind: 'flag', summary: 'its snapshots go with it (without this a volume with some stays)' },
  },
  async run({ volume: reference }, { force, 'with-snapshots': withSnapshots }, session) {
    const client = await session.client();
    if (!force) {
      const volume = await client.getVolume({ volume: reference, retained: false });
      if (volume.reclaimPolicy !== 'Retain') {
        const what = `${describe(volume)} and its data will be gone for good.`;
        await confirm(session, `${what} Delete it?`, 'add --force to delete it (this also drops its connections).');
      }
      // By id: what was looked at, and asked about, even if its name has gone to another volume meanwhile.
      show(session, await client.deleteVolume({ volume: volume.id, force, withSnapshots }));
      return;
    }
    show(session, await client.deleteVolume({ volume: reference, force, withSnapshots }));
  },
});

export const volumePurge = command({
  verb: ['volume', 'purge'],
  summary: 'erase a retained volume for good',
  words: { volume: { summary: 'id or old name', required: true, completes: 'retained-volume' } },
  options: { force: { kind: 'flag', alias: 'f', summary: 'ask nothing' } },
  async run({ volume: reference }, { force }, session) {
    const client = await session.client();
    if (!force) {
      const volume = await retainedVolume(client, reference);
      const what = `${describe(volume)} and its data will be gone for good.`;
      await confirm(session, `${what} Purge it?`, 'add --force to purge it.');
      show(session, await client.purgeVolume({ volume: volume.id, force }));
      return;
    }
    show(session, await client.purgeVolume({ volume: reference, force }));
  },
});

export const volumeRestore = command({
  verb: ['volume', 'restore'],
  summary: 'bring a retained volume back',
  words: { volume: { summary: 'id or old name', required: true, completes: 'retained-volume' } },
  options: { name: { kind: 'text', alias: 'n', summary: 'another name, if the old one is taken', value: 'NAME' } },
  async run({ volume: reference }, { name }, session) {
    if (name === '') throw usageError('--name needs a value');
    const volume = await (await session.client()).restoreVolume({ volume: reference, name: name ?? '' });
    session.output.answer(toVolumeView(volume), () => `${volume.name} restored`);
  },
});

/** The retained volume that is meant; asking for it by name would answer with a live one of the same name. */
async function retainedVolume(client: ControlClient, reference: string): Promise<Volume> {
  const named = (await client.listVolumes({ labels: {}, retained: true })).filter(({ name }) => name === reference);
  if (named.length > 1) {
    throw failure(
      `${String(named.length)} retained volumes were called "${reference}"; use the id of one: ${idsOf(named)}`,
    );
  }
  const volume = named[0] ?? (await client.getVolume({ volume: reference, retained: true }));
  if (volume.state === 'retained') return volume;
  throw failure(`volume ${volume.name} is not retained; delete it first: gfs volume delete ${volume.name}`);
}

function idsOf(volumes: readonly Volume[]): string {
  return volumes.map((volume) => `${volume.id} (${formatSize(volume.sizeBytes)})`).join(', ');
}

function describe(volume: Volume): string {
  return `Volume ${volume.name} (${formatSize(volume.sizeBytes)}, ${formatSize(volume.allocatedBytes)} used)`;
}

function show(session: Session, response: DeleteVolumeResponse): void {
  const { id, name, outcome, detail } = response;
  session.output.answer({ id, name, outcome, detail }, () => (detail === '' ? `${name} ${outcome}` : detail));
}

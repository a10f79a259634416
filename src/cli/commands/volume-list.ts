import type { Volume } from '../../ipc/generated/control.js';
import { command } from '../command.js';
import { scrubFacts, toScrubView } from '../output/scrub-text.js';
import { snapshotFacts } from '../output/snapshot-text.js';
import { toSnapshotView } from '../output/snapshot-view.js';
import { volumeFacts, volumeTable } from '../output/volume-text.js';
import { toVolumeView } from '../output/volume-view.js';
import { parseLabels } from '../option-values.js';
import { isSnapshot } from './snapshot-word.js';

const SORTS: Record<string, (left: Volume, right: Volume) => number> = {
  name: (left, right) => (left.name < right.name ? -1 : left.name > right.name ? 1 : 0),
  // The largest and the newest are what one looks for.
  size: (left, right) => right.sizeBytes - left.sizeBytes,
  created: (left, right) => right.createdAtMs - left.createdAtMs,
  allocated: (left, right) => right.allocatedBytes - left.allocatedBytes,
};

export const volumeList = command({
  verb: ['volume', 'list'],
  summary: 'show all volumes',
  words: {},
  options: {
    label: { kind: 'texts', alias: 'l', summary: 'only volumes with this label', value: 'KEY=VALUE' },
    sort: { kind: 'text', summary: 'order (default: name)', choices: Object.keys(SORTS) },
    retained: { kind: 'flag', summary: 'show deleted volumes whose data is kept' },
  },
  async run(_words, options, session) {
    const { output, world } = session;
    const labels = parseLabels('--label', options.label);
    const volumes = await (await session.client()).listVolumes({ labels, retained: options.retained });
    const order = SORTS[options.sort ?? 'name'];
    volumes.sort(order);
    output.answer(volumes.map(toVolumeView), () => {
      if (volumes.length > 0) return volumeTable(volumes, output, world.clock.wallMs());
      if (options.retained) return 'no retained volumes';
      return options.label.length > 0
        ? 'no volumes with these labels'
        : 'no volumes yet; make one with: gfs volume create NAME --size 10G';
    });
  },
});

export const volumeGet = command({
  verb: ['volume', 'get'],
  summary: 'show one volume, or one snapshot (VOLUME@SNAPSHOT)',
  words: { volume: { summary: 'name, id, or the beginning of an id', required: true, completes: 'point' } },
  options: { retained: { kind: 'flag', summary: 'look also among retained volumes' } },
  async run({ volume: reference }, { retained }, session) {
    const client = await session.client();
    if (isSnapshot(reference)) {
      const snapshot = await client.snapshots.get(reference);
      session.output.answer(toSnapshotView(snapshot), () => snapshotFacts(snapshot, session.output));
      return;
    }
    const volume = await client.getVolume({ volume: reference, retained });
    const [scrub] = await client.scrubs.status(volume.id);
    const view = { ...toVolumeView(volume), scrub: scrub === undefined ? null : toScrubView(scrub) };
    session.output.answer(view, () =>
      volumeFacts(volume, session.output, scrub === undefined ? [] : scrubFacts(scrub)),
    );
  },
});

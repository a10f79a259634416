import { formatSize } from '../../base/size.js';
import type { Snapshot } from '../../ipc/generated/snapshots.js';
import { usageError } from '../cli-error.js';
import { command, type Command } from '../command.js';
import { parseLabels } from '../option-values.js';
import { snapshotFacts, snapshotTable } from '../output/snapshot-text.js';
import { pointOf, toSnapshotView } from '../output/snapshot-view.js';
import { toVolumeView } from '../output/volume-view.js';
import { confirm } from '../questions.js';
import type { Session } from '../session.js';
import { scheduleCommands } from './snapshot-schedule.js';
import { SNAPSHOT } from './snapshot-word.js';

/** The verbs of snapshots, once as `gfs volume snapshot VERB` and once as `gfs snapshot VERB`. */
export function snapshotCommands(group: readonly string[]): Command[] {
  return [
    create(group),
    list(group),
    get(group),
    remove(group),
    revert(group),
    rename(group),
    holding(group, 'hold', 'keep a snapshot from retention and deletion until it is released', true),
    holding(group, 'release', 'allow a held snapshot to be deleted again', false),
    ...scheduleCommands(group),
  ];
}

function create(group: readonly string[]): Command {
  const line = ['gfs', ...group, 'create'].join(' ');
  return command({
    verb: [...group, 'create'],
    summary: 'keep what a volume holds now, in an instant and while it is used',
    details:
      'A database recovers from it as from a power cut. With --group several volumes are kept as they are at one\n' +
      `moment.\nExamples:\n  ${line} data --name before-upgrade\n  ${line} --group data,log --name nightly`,
    words: { volume: { summary: 'name or id', completes: 'volume' } },
    options: {
      name: { kind: 'text', alias: 'n', summary: 'name of the snapshot (default: one is made up)', value: 'NAME' },
      group: { kind: 'text', summary: 'several volumes, at one moment', value: 'A,B,...' },
      label: { kind: 'texts', alias: 'l', summary: 'a label', value: 'KEY=VALUE' },
    },
    async run({ volume }, { name, group: together, label }, session) {
      const named = together?.split(',').map((one) => one.trim()) ?? [];
      const volumes = [...(volume === undefined ? [] : [volume]), ...named];
      if (volumes.length === 0) throw usageError(`VOLUME is missing: ${line} VOLUME, or --group A,B`);
      if (volumes.includes('')) throw usageError('--group takes names with commas between them, such as data,log');
      const labels = parseLabels('--label', label);
      const taken = await (await session.client()).snapshots.create({ volumes, name: name ?? '', labels });
      const views = taken.map(toSnapshotView);
      session.output.answer(together === undefined ? views[0] : views, () =>
        taken.map((one) => `${pointOf(one)} taken`).join('\n'),
      );
    },
  });
}

function list(group: readonly string[]): Command {
  return command({
    verb: [...group, 'list'],
    summary: 'show the snapshots of a volume, or all',
    words: { volume: { summary: 'name or id', completes: 'volume' } },
    options: { label: { kind: 'texts', alias: 'l', summary: 'only those with this label', value: 'KEY=VALUE' } },
    async run({ volume }, { label }, session) {
      const { output, world } = session;
      const labels = parseLabels('--label', label);
      const found = await (await session.client()).snapshots.list({ volume: volume ?? '', labels });
      output.answer(found.map(toSnapshotView), () => {
        if (found.length > 0) return snapshotTable(found, output, world.clock.wallMs());
        return label.length > 0 ? 'no snapshots with these labels' : 'no snapshots';
      });
    },
  });
}

function get(group: readonly string[]): Command {
  return command({
    verb: [...group, 'get'],
    summary: 'show one snapshot, and how far its deletion is',
    words: { snapshot: SNAPSHOT },
    options: {},
    async run({ snapshot }, _options, session) {
      const found = await (await session.client()).snapshots.get(snapshot);
      session.output.answer(toSnapshotView(found), () => snapshotFacts(found, session.output));
    },
  });
}

function remove(group: readonly string[]): Command {
  return command({
    verb: [...group, 'delete'],
    summary: 'give a snapshot up; its space comes back in the background',
    details: 'Clones of it stay as they are. `get` shows how far it is.',
    words: { snapshot: SNAPSHOT },
    options: { force: { kind: 'flag', alias: 'f', summary: 'ask nothing, and drop connections' } },
    async run({ snapshot: reference }, { force }, session) {
      const { snapshots } = await session.client();
      let target = reference;
      if (!force) {
        const found = await snapshots.get(reference);
        const what = `Snapshot ${pointOf(found)} (${formatSize(found.exclusiveBytes)} of its own) will be gone for good.`;
        await confirm(session, `${what} Delete it?`, 'add --force to delete it (this also drops its connections).');
        // By id: what was looked at, even if its name has gone to another meanwhile.
        target = found.id;
      }
      show(session, await snapshots.delete({ snapshot: target, force }), (of) => `${pointOf(of)} deleted`);
    },
  });
}

function revert(group: readonly string[]): Command {
  return command({
    verb: [...group, 'revert'],
    summary: 'put a volume back to what a snapshot shows; what it holds now is kept in another one',
    words: { snapshot: SNAPSHOT },
    options: { force: { kind: 'flag', alias: 'f', summary: 'drop the clients that are connected' } },
    async run({ snapshot }, { force }, session) {
      const { volume, safetySnapshot } = await (await session.client()).snapshots.revert({ snapshot, force });
      const view = { volume: volume === undefined ? null : toVolumeView(volume), safetySnapshot };
      session.output.answer(
        view,
        () =>
          `${volume?.name ?? ''} is as ${snapshot} was; what it held is kept as ${volume?.name ?? ''}@${safetySnapshot}`,
      );
    },
  });
}

function rename(group: readonly string[]): Command {
  return command({
    verb: [...group, 'rename'],
    summary: 'give a snapshot another name',
    words: { snapshot: SNAPSHOT, name: { summary: 'the new name, without the volume', required: true } },
    options: {},
    async run({ snapshot, name }, _options, session) {
      const renamed = await (await session.client()).snapshots.rename({ snapshot, name });
      show(session, renamed, (of) => `${snapshot} is now ${pointOf(of)}`);
    },
  });
}

function holding(group: readonly string[], verb: string, summary: string, held: boolean): Command {
  return command({
    verb: [...group, verb],
    summary,
    words: { snapshot: SNAPSHOT },
    options: {},
    async run({ snapshot }, _options, session) {
      const found = await (await session.client()).snapshots.setHeld({ snapshot, held });
      show(session, found, (of) => `${pointOf(of)} is ${of.held ? 'held' : 'no longer held'}`);
    },
  });
}

function show(session: Session, snapshot: Snapshot, text: (snapshot: Snapshot) => string): void {
  session.output.answer(toSnapshotView(snapshot), () => text(snapshot));
}

import type { ConfigValue } from '../../ipc/generated/control.js';
import { NOT_RUNNING, processStart } from '../../ipc/process-start.js';
import { failure, usageError } from '../cli-error.js';
import { command } from '../command.js';
import { EXIT } from '../exit-code.js';
import { nodeFacts, toNodeView } from '../output/node-text.js';
import type { Column } from '../output/table.js';
import { processEnded } from '../process-ended.js';

export const daemonStatus = command({
  verb: ['daemon', 'status'],
  summary: 'show the daemon; exits 0 once it is ready',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const { output, world } = session;
    const node = await (await session.client()).status();
    output.answer(toNodeView(node), () => nodeFacts(node, world.clock.wallMs(), output));
    return node.ready ? EXIT.ok : EXIT.failed;
  },
});

export const daemonConfig = command({
  verb: ['daemon', 'config'],
  summary: 'show every setting of the daemon and where it came from',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const { output } = session;
    const { values } = await (await session.client()).config();
    const columns: Column<ConfigValue>[] = [
      { title: 'KEY', value: (of) => of.key },
      { title: 'VALUE', value: (of) => of.value, widthMin: 16 },
      { title: 'SOURCE', value: (of) => of.source },
      { title: 'FROM', value: (of) => of.origin, widthMin: 12, dropOrder: 1 },
      { title: 'NOTE', value: (of) => of.note, widthMin: 16, dropOrder: 2 },
    ];
    const view = values.map(({ key, value, source, origin, note }) => ({ key, value, source, origin, note }));
    output.answer(view, () => output.table(columns, values));
  },
});

export const daemonStop = command({
  verb: ['daemon', 'stop'],
  summary: 'end the daemon in order and wait until it is gone',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const { output } = session;
    const client = await session.client();
    // Known before it is asked to end, so that a reused process number is not waited for.
    const { pid } = await client.status();
    const start = processStart(pid);
    await client.stop();
    if (start !== NOT_RUNNING) {
      const ended = await processEnded(pid, start, session.timeoutMs, session.signal, session.world.clock);
      if (!ended) {
        throw failure(`the daemon (process ${String(pid)}) was told to end and still works on it; look at its log`);
      }
    }
    output.answer({ pid, stopped: true }, () => `the daemon (process ${String(pid)}) has ended`);
  },
});

/** Taken over by the daemon's side before this table is asked; it stands here for help and completion. */
export const daemonCheck = command({
  verb: ['daemon', 'check'],
  summary: 'look at the storage of a stopped daemon: what is damaged, and what still reads',
  details:
    'Reads the journal, the map, the records of volumes and their keys, and changes nothing. Takes the options of the\n' +
    'daemon: --storage-path, --config, --key-provider and what goes with it (`gfs -d --help`), or the GFS_... variables.\n' +
    'With the master key at hand it opens a sample of each volume, with --deep every block.\n' +
    'Exit status: 0 nothing is damaged, 1 damage was found, 2 it could not be checked (a daemon runs on it).\n' +
    'Example:\n  gfs daemon check --storage-path /var/lib/galleonfs --deep',
  words: {},
  options: { deep: { kind: 'flag', summary: 'open every block, not a sample' } },
  run() {
    throw usageError('write the verb first: gfs daemon check --storage-path DIR ...');
  },
});

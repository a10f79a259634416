import type { ConfigValue } from '../../ipc/generated/control.js';
import { NOT_RUNNING, processStart } from '../../ipc/process-start.js';
import { failure } from '../cli-error.js';
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

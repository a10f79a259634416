import type { Volume } from '../../ipc/generated/control.js';
import { command } from '../command.js';
import { EXIT } from '../exit-code.js';
import { healthText, toNodeView, toProblemView } from '../output/node-text.js';
import { printable } from '../output/text-width.js';

export const status = command({
  verb: ['status'],
  summary: 'is all well? node, volumes, space, and problems with what to do',
  details: 'Exit status: 0 when the daemon is ready, 1 when it answers but is not ready, 3 when it does not answer.',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const { output, world } = session;
    const client = await session.client();
    const [node, volumes] = await Promise.all([client.status(), client.listVolumes({ labels: {}, retained: false })]);
    // The daemon reports most of these as problems; a volume with a reason that it does not report is shown too.
    const reported = new Set(node.problems.map((problem) => problem.subject));
    const ailing = volumes.filter(
      (volume) => volume.stateReason !== '' && !reported.has(`volume ${volume.name}`) && !reported.has(volume.name),
    );
    const view = {
      healthy: node.ready && node.problems.length === 0 && ailing.length === 0,
      ...toNodeView(node),
      problems: [...node.problems.map(toProblemView), ...ailing.map(toVolumeProblem)],
    };
    output.answer(view, () => healthText(node, ailing.map(describe).map(printable), world.clock.wallMs(), output));
    return node.ready ? EXIT.ok : EXIT.failed;
  },
});

function toVolumeProblem(volume: Volume): object {
  return {
    subject: `volume ${volume.name}`,
    reason: volume.stateReason,
    remedy: '',
    lastError: '',
    nextTryAt: null,
  };
}

function describe(volume: Volume): string {
  return `! volume ${volume.name} is ${volume.state}: ${volume.stateReason}`;
}

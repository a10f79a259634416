import type { VolumeQosState } from '../../ipc/generated/qos.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import type { Output } from '../output/output.js';
import { qosFacts, toQosView } from '../output/qos-text.js';
import { changesQos, QOS_OPTIONS, qosChangeOf } from '../qos-options.js';
import { VOLUME } from './volume-word.js';

export const volumeQosSet = command({
  verb: ['volume', 'qos', 'set'],
  summary: 'limit a volume, or guarantee it something, from now on',
  details:
    'What is not named stays as it is; "none" takes a limit away. Requests above 256K count as several operations.\n' +
    'A burst is saved up while a volume does less than its limits.\n' +
    'Example:\n  gfs volume qos set data --iops 1000 --throughput 100M --burst-multiplier 2 --burst-duration 300s',
  words: { volume: VOLUME },
  options: {
    policy: { kind: 'text', summary: 'first take the settings of a policy', value: 'POLICY', completes: 'qos-policy' },
    ...QOS_OPTIONS,
  },
  async run({ volume }, { policy, ...options }, session) {
    const change = qosChangeOf(options);
    if (policy === undefined && !changesQos(change)) {
      throw usageError(`nothing to set: gfs volume qos set ${volume} --iops 1000 --throughput 100M`);
    }
    const state = await (await session.client()).qos.set({ volume, policy: policy ?? '', change });
    session.output.answer(toStateView(state), () => stateText(state, session.output));
  },
});

export const volumeQosGet = command({
  verb: ['volume', 'qos', 'get'],
  summary: 'show what a volume may do and what it is guaranteed',
  words: { volume: VOLUME },
  options: {},
  async run({ volume }, _options, session) {
    const state = await (await session.client()).qos.get(volume);
    session.output.answer(toStateView(state), () => stateText(state, session.output));
  },
});

export const volumeQosClear = command({
  verb: ['volume', 'qos', 'clear'],
  summary: 'take all limits and guarantees of a volume away',
  words: { volume: VOLUME },
  options: {},
  async run({ volume }, _options, session) {
    const state = await (await session.client()).qos.clear(volume);
    session.output.answer(toStateView(state), () => `${state.name} has no limits and no guarantees`);
  },
});

function toStateView(state: VolumeQosState): object {
  return {
    id: state.id,
    name: state.name,
    qos: toQosView(state.qos),
    waiting: state.waiting,
    throttledSeconds: state.throttledSeconds,
    throttledOperations: state.throttledOperations,
  };
}

function stateText(state: VolumeQosState, output: Output): string {
  if (state.qos === undefined) return `${state.name} has no limits and no guarantees`;
  return output.facts([
    ['name', state.name],
    ...qosFacts(state.qos),
    ['waiting', `${String(state.waiting)} requests`],
    ['throttled', `${state.throttledSeconds.toFixed(1)} s, ${String(state.throttledOperations)} operations`],
  ]);
}

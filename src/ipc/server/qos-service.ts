import type { QosState, QualityOfService } from '../../control/quality-of-service.js';
import type { QosPolicy, VolumeQos } from '../../model/qos-settings.js';
import type {
  QosPolicy as PolicyMessage,
  QosServer,
  VolumeQos as QosMessage,
  VolumeQosState,
} from '../generated/qos.js';
import type { CallGate } from './call-gate.js';
import { unary } from './call-handlers.js';

/** The service Qos of qos.proto. */
export function qosService(gate: CallGate, qos: QualityOfService): QosServer {
  const { policies } = qos;
  return {
    set: unary(gate, async ({ volume, policy, change }, caller) =>
      toState(await qos.set(volume, { policy, change }, caller)),
    ),
    get: unary(gate, ({ volume }) => toState(qos.get(volume))),
    clear: unary(gate, async ({ volume }, caller) => toState(await qos.clear(volume, caller))),
    createPolicy: unary(gate, async ({ document, fileName }, caller) =>
      toPolicy(await policies.create(document, fileName, caller)),
    ),
    listPolicies: unary(gate, () => ({ policies: policies.list().map(toPolicy) })),
    getPolicy: unary(gate, ({ name }) => toPolicy(policies.get(name))),
    deletePolicy: unary(gate, async ({ name }, caller) => {
      await policies.delete(name, caller);
      return { name };
    }),
  };
}

/** What a volume has; none is absent. */
export function toQos(qos: VolumeQos | null): QosMessage | undefined {
  return qos === null ? undefined : { policy: qos.policy, settings: { ...qos.settings } };
}

function toState({ id, name, qos, throttling }: QosState): VolumeQosState {
  return {
    id,
    name,
    qos: toQos(qos),
    waiting: throttling?.waiting ?? 0,
    throttledSeconds: (throttling?.throttledMs ?? 0) / 1000,
    throttledOperations: throttling?.throttledRequests ?? 0,
  };
}

function toPolicy({ name, settings, createdAtMs }: QosPolicy): PolicyMessage {
  return { name, settings: { ...settings }, createdAtMs };
}

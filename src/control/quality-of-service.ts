import { formatDuration } from '../base/duration.js';
import { formatSize } from '../base/size.js';
import { changedQos, checkQos, isNoQos, NO_QOS, type QosChange, type VolumeQos } from '../model/qos-settings.js';
import type { ThrottleReading } from '../volume/volume-host.js';
import type { Caller } from './caller.js';
import { invalid, stepOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import { findVolume, refuseOther } from './find-volume.js';
import type { QosPolicies } from './qos-policies.js';
import { eventOf } from './volume-event.js';
import type { VolumeRecord } from './volume-record.js';
import { wrongState } from './volume-refusals.js';
import type { VolumeTable } from './volume-table.js';

export interface QualityOfServiceDependencies {
  readonly table: VolumeTable;
  readonly policies: QosPolicies;
  readonly events: EventLog;
}

/** What a volume has, and what it makes its requests wait. */
export interface QosState {
  readonly id: string;
  readonly name: string;
  readonly qos: VolumeQos | null;
  /** null: the volume is not open. */
  readonly throttling: ThrottleReading | null;
}

/** What a volume is to have: '' or a policy whose settings come first, and what is changed then. */
export interface QosWish {
  readonly policy: string;
  readonly change?: QosChange | undefined;
}

/** Limits and guarantees of volumes: durable first, then in effect, at once. */
export class QualityOfService {
  readonly policies: QosPolicies;
  readonly #dependencies: QualityOfServiceDependencies;

  constructor(dependencies: QualityOfServiceDependencies) {
    this.policies = dependencies.policies;
    this.#dependencies = dependencies;
  }

  /** Throws NOT_FOUND, AMBIGUOUS. */
  get(reference: string): QosState {
    return stateOf(findVolume(this.#dependencies.table, reference, 'live'));
  }

  /** What is not named stays. Throws ModelError QOS that names the fields, INVALID for a change of nothing, NOT_FOUND. */
  set(reference: string, wish: QosWish, caller: Caller): Promise<QosState> {
    return this.#change(reference, caller, (before) => {
      if (wish.policy === '' && !changesSomething(wish.change)) {
        throw invalid('change', 'nothing is to be set; give a policy, a limit or a guarantee');
      }
      return qosOf(wish, before, this.policies);
    });
  }

  /** Fine if there is nothing to take away. Throws NOT_FOUND, AMBIGUOUS. */
  clear(reference: string, caller: Caller): Promise<QosState> {
    return this.#change(reference, caller, () => null);
  }

  async #change(
    reference: string,
    caller: Caller,
    next: (before: VolumeQos | null) => VolumeQos | null,
  ): Promise<QosState> {
    const { table, events } = this.#dependencies;
    const record = findVolume(table, reference, 'live');
    await record.mutex.run(async () => {
      // What came before in the queue may have deleted it.
      if (record.row.phase !== 'live') throw wrongState(record, 'changed');
      refuseOther(table, reference, 'live', record);
      const qos = next(record.row.qos);
      if (qos === null && record.row.qos === null) return;
      await stepOf('change quality of service', table.change(record, { ...record.row, qos }));
      record.handle?.setQos(qos?.settings ?? null);
      const message = `volume ${record.row.name}: ${qos === null ? 'no limits and no guarantees' : describeQos(qos)}`;
      events.append({ ...eventOf(record, caller), kind: 'volume.qos', message });
    });
    return stateOf(record);
  }
}

/** What comes of a wish, over what there was; null: nothing is limited or guaranteed. Throws ModelError QOS, NOT_FOUND. */
export function qosOf({ policy, change }: QosWish, before: VolumeQos | null, policies: QosPolicies): VolumeQos | null {
  const from = policy === '' ? before : { policy, settings: policies.get(policy).settings };
  const settings = checkQos(changedQos(from?.settings ?? NO_QOS, change ?? {}));
  if (isNoQos(settings)) return null;
  return { policy: changesSomething(change) ? '' : (from?.policy ?? ''), settings };
}

function changesSomething(change: QosChange | undefined): boolean {
  return Object.values(change ?? {}).some((value) => value !== undefined);
}

function stateOf(record: VolumeRecord): QosState {
  const { id, row, handle } = record;
  return { id, name: record.displayName, qos: row.qos, throttling: handle?.throttling ?? null };
}

/** `policy gold: 1000 iops, 100 MiB/s, burst x2 for 5m`. */
function describeQos({ policy, settings }: VolumeQos): string {
  const parts: string[] = [];
  const say = (value: number, text: string): void => {
    if (value > 0) parts.push(text);
  };
  const perSecond = (bytes: number): string => `${formatSize(bytes)}/s`;
  say(settings.iops, `${settings.iops} iops`);
  say(settings.throughput, perSecond(settings.throughput));
  say(settings.readIops, `${settings.readIops} read iops`);
  say(settings.readThroughput, `reads ${perSecond(settings.readThroughput)}`);
  say(settings.writeIops, `${settings.writeIops} write iops`);
  say(settings.writeThroughput, `writes ${perSecond(settings.writeThroughput)}`);
  if (settings.burstMultiplier > 1) {
    parts.push(`burst x${settings.burstMultiplier} for ${formatDuration(settings.burstDurationMs)}`);
  }
  say(settings.guaranteedIops, `at least ${settings.guaranteedIops} iops`);
  say(settings.guaranteedThroughput, `at least ${perSecond(settings.guaranteedThroughput)}`);
  return `${policy === '' ? '' : `policy ${policy}: `}${parts.join(', ')}`;
}

import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import { parseQosPolicy } from '../model/qos-policy-document.js';
import type { QosPolicy } from '../model/qos-settings.js';
import { parseQosPolicyRow } from '../model/row-shape.js';
import type { Caller } from './caller.js';
import { ControlError, refused, stepOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import { QOS_POLICIES_MAX } from './limits.js';
import { QOS_POLICY_PREFIX, qosPolicyKey } from './meta-keys.js';

export interface QosPoliciesDependencies {
  readonly meta: MetaStore;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
  /** Names of the storage classes that name a policy. */
  readonly classesOf: (policy: string) => readonly string[];
}

/**
 * Named settings of quality of service. A policy does not change; a volume takes a copy of its settings, so that it may
 * be deleted while volumes have them. A storage class names one that has to be there when a volume is made.
 */
export class QosPolicies {
  readonly #dependencies: QosPoliciesDependencies;
  readonly #policies = new Map<string, QosPolicy>();
  /** Policies that a class in the making names, with how many. */
  readonly #held = new Map<string, number>();
  readonly #changes = new Mutex();
  #damaged: readonly string[] = [];

  constructor(dependencies: QosPoliciesDependencies) {
    this.#dependencies = dependencies;
  }

  /** Names of policies whose record cannot be read. */
  get damaged(): readonly string[] {
    return this.#damaged;
  }

  /** Reads all policies. Throws MetaError. */
  async load(): Promise<void> {
    const { meta, log } = this.#dependencies;
    const listing = await meta.list(QOS_POLICY_PREFIX);
    const damaged = listing.damaged.map((key) => key.slice(QOS_POLICY_PREFIX.length));
    for (const entry of listing.entries) {
      try {
        const policy = parseQosPolicyRow(decodeJson(entry), entry.key);
        this.#policies.set(policy.name, policy);
      } catch (thrown) {
        damaged.push(entry.key.slice(QOS_POLICY_PREFIX.length));
        log.warn({ key: entry.key, error: messageOf(thrown) }, 'a policy of quality of service cannot be read');
      }
    }
    this.#damaged = damaged;
  }

  /** By name. */
  list(): QosPolicy[] {
    return [...this.#policies.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Throws NOT_FOUND. */
  get(name: string): QosPolicy {
    const found = this.#policies.get(name);
    if (found !== undefined) return found;
    const known = this.list().map((policy) => policy.name);
    const hint = known.length === 0 ? 'make one with `gfs qos create FILE`' : `there are ${known.join(', ')}`;
    throw new ControlError(`there is no policy of quality of service "${name}"; ${hint}`, {
      code: 'NOT_FOUND',
      what: 'policy',
      reference: name,
    });
  }

  /** Keeps a policy from being deleted while a class is made that names it. Returns how to let go. Throws NOT_FOUND. */
  hold(name: string): () => void {
    this.get(name);
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    let holding = true;
    return () => {
      if (holding) this.#held.set(name, (this.#held.get(name) ?? 1) - 1);
      holding = false;
    };
  }

  /** Reads a JSON or YAML document. Throws ModelError DOCUMENT that names every problem, or EXISTS. */
  create(document: string, fileName: string, caller: Caller): Promise<QosPolicy> {
    return this.#changes.run(async () => {
      const { meta, clock } = this.#dependencies;
      const policy = parseQosPolicy(document, fileName, clock.wallMs());
      const { name } = policy;
      if (this.#policies.has(name)) throw exists(name);
      if (this.#policies.size >= QOS_POLICIES_MAX) {
        throw new ControlError(`there are ${QOS_POLICIES_MAX} policies, more are not kept; delete some`, {
          code: 'FULL',
        });
      }
      const key = qosPolicyKey(name);
      const set = [{ key, value: encodeJson(policy) }];
      const outcome = await stepOf('store policy', meta.transaction({ compare: [{ key, revision: 0 }], set }));
      if (!outcome.committed) throw exists(name);
      this.#policies.set(name, policy);
      this.#note(caller, 'qos-policy.created', `policy ${name} created`);
      return policy;
    });
  }

  /** Volumes keep the settings that they took from it. Refused while a storage class names it. Throws NOT_FOUND. */
  delete(name: string, caller: Caller): Promise<void> {
    return this.#changes.run(async () => {
      const policy = this.#policies.get(name);
      // A damaged one has nothing to look at, and deleting it is how it is got rid of.
      if (policy === undefined && !this.#damaged.includes(name)) this.get(name);
      const users = this.#dependencies.classesOf(name);
      if (users.length > 0 || (this.#held.get(name) ?? 0) > 0) {
        const who = users.length === 0 ? 'a class that is being created' : users.join(', ');
        throw refused('policy-in-use', `policy ${name} is named by storage class ${who}; delete that first`);
      }
      // Out of sight in the turn in which its users were counted, so that no class is made with it meanwhile.
      this.#policies.delete(name);
      try {
        await stepOf('delete policy', this.#dependencies.meta.transaction({ delete: [qosPolicyKey(name)] }));
      } catch (thrown) {
        if (policy !== undefined) this.#policies.set(name, policy);
        throw thrown;
      }
      this.#damaged = this.#damaged.filter((other) => other !== name);
      this.#note(caller, 'qos-policy.deleted', `policy ${name} deleted`);
    });
  }

  #note({ actor }: Caller, kind: string, message: string): void {
    this.#dependencies.events.append({ kind, volume: '', volumeId: '', actor, message, level: 'info' });
  }
}

function exists(name: string): ControlError {
  return new ControlError(`a policy named "${name}" exists already; delete it first, or choose another name`, {
    code: 'EXISTS',
    what: 'policy',
    name,
  });
}

import type { Clock } from '../base/clock.js';
import { messageOf } from '../base/errors.js';
import type { Log } from '../base/log.js';
import { Mutex } from '../base/mutex.js';
import { decodeJson, encodeJson } from '../meta/json-value.js';
import type { MetaStore } from '../meta/meta-store.js';
import { BUILT_IN_CLASSES, DEFAULT_CLASS_NAME } from '../model/built-in-classes.js';
import { notesOf } from '../model/class-notes.js';
import { parseStorageClassRow } from '../model/row-shape.js';
import { parseStorageClass } from '../model/storage-class-document.js';
import type { StorageClass } from '../model/storage-class.js';
import type { Caller } from './caller.js';
import { ControlError, refused, stepOf } from './control-error.js';
import type { EventLog } from './event-log.js';
import { CLASSES_MAX } from './limits.js';
import { CLASS_PREFIX, classKey } from './meta-keys.js';
import type { QosPolicies } from './qos-policies.js';
import type { VolumeTable } from './volume-table.js';

export interface StorageClassesDependencies {
  readonly meta: MetaStore;
  readonly table: VolumeTable;
  readonly policies: QosPolicies;
  readonly events: EventLog;
  readonly clock: Clock;
  readonly log: Log;
}

export interface CreatedClass {
  readonly storageClass: StorageClass;
  /** What it asks for that has no effect on a node alone. */
  readonly notes: readonly string[];
}

/** The policies that volumes are born with: built-in ones, and those that users made. */
export class StorageClasses {
  readonly #dependencies: StorageClassesDependencies;
  readonly #classes = new Map(BUILT_IN_CLASSES.map((entry) => [entry.name, entry]));
  /** Classes that a volume in the making refers to, with how many. */
  readonly #held = new Map<string, number>();
  readonly #changes = new Mutex();
  #damaged: readonly string[] = [];

  constructor(dependencies: StorageClassesDependencies) {
    this.#dependencies = dependencies;
  }

  /** Names of classes whose record cannot be read. Their volumes are served, and kept when deleted. */
  get damaged(): readonly string[] {
    return this.#damaged;
  }

  async load(): Promise<void> {
    const listing = await this.#dependencies.meta.list(CLASS_PREFIX);
    const damaged = listing.damaged.map((key) => key.slice(CLASS_PREFIX.length));
    for (const entry of listing.entries) {
      try {
        const storageClass = parseStorageClassRow(decodeJson(entry), entry.key);
        if (!this.#classes.has(storageClass.name)) this.#classes.set(storageClass.name, storageClass);
      } catch (thrown) {
        damaged.push(entry.key.slice(CLASS_PREFIX.length));
        this.#dependencies.log.warn({ key: entry.key, error: messageOf(thrown) }, 'a storage class cannot be read');
      }
    }
    this.#damaged = damaged;
  }

  /** Built-in ones first, then by name. */
  list(): StorageClass[] {
    return [...this.#classes.values()].sort(
      (a, b) => Number(b.builtIn) - Number(a.builtIn) || (a.name < b.name ? -1 : 1),
    );
  }

  /** '' means the default class. Throws NOT_FOUND. */
  get(name: string): StorageClass {
    const found = this.#classes.get(name === '' ? DEFAULT_CLASS_NAME : name);
    if (found !== undefined) return found;
    const known = this.list().map((entry) => entry.name);
    throw new ControlError(`there is no storage class "${name}"; there are ${known.join(', ')}`, {
      code: 'NOT_FOUND',
      what: 'storage class',
      reference: name,
    });
  }

  find(name: string): StorageClass | undefined {
    return this.#classes.get(name);
  }

  /** Of the classes that name a policy of quality of service. */
  namesWithPolicy(policy: string): string[] {
    return this.list()
      .filter(({ parameters }) => parameters.qosPolicy === policy)
      .map(({ name }) => name);
  }

  isDefault(storageClass: StorageClass): boolean {
    return storageClass.name === DEFAULT_CLASS_NAME;
  }

  /** Keeps a class from being deleted while a volume is made with it. Returns how to let go. */
  hold(name: string): () => void {
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    let holding = true;
    return () => {
      if (!holding) return;
      holding = false;
      this.#held.set(name, (this.#held.get(name) ?? 1) - 1);
    };
  }

  /** Reads a JSON or YAML document. Throws ModelError DOCUMENT that names every problem, EXISTS, or NOT_FOUND for its policy. */
  create(document: string, fileName: string, caller: Caller): Promise<CreatedClass> {
    return this.#changes.run(async () => {
      const { meta, events, clock } = this.#dependencies;
      const storageClass = parseStorageClass(document, fileName, clock.wallMs());
      const { name } = storageClass;
      if (this.#classes.has(name)) throw this.#exists(name);
      if (this.#classes.size >= CLASSES_MAX) {
        throw new ControlError(`there are ${CLASSES_MAX} storage classes, more are not kept`, { code: 'FULL' });
      }
      const { qosPolicy } = storageClass.parameters;
      const release = qosPolicy === '' ? () => undefined : this.#dependencies.policies.hold(qosPolicy);
      try {
        const outcome = await stepOf(
          'store storage class',
          meta.transaction({
            compare: [{ key: classKey(name), revision: 0 }],
            set: [{ key: classKey(name), value: encodeJson(storageClass) }],
          }),
        );
        if (!outcome.committed) throw this.#exists(name);
        this.#classes.set(name, storageClass);
      } finally {
        release();
      }
      events.append({
        kind: 'class.created',
        volume: '',
        volumeId: '',
        actor: caller.actor,
        message: `storage class ${name} created`,
        level: 'info',
      });
      return { storageClass, notes: notesOf(storageClass) };
    });
  }

  /** Refused for built-in classes and while any volume, retained ones included, was born with it. */
  delete(name: string, caller: Caller): Promise<void> {
    return this.#changes.run(async () => {
      const { meta, table, events } = this.#dependencies;
      const storageClass = name === '' ? undefined : this.#classes.get(name);
      // A damaged class has nothing to look at, and deleting it is how it is got rid of.
      if (storageClass === undefined && !this.#damaged.includes(name)) this.get(name === '' ? '?' : name);
      if (storageClass?.builtIn === true) throw refused('built-in', `storage class ${name} is built in and stays`);
      const users = table.all().filter(({ row }) => row.storageClass === name);
      if (users.length > 0 || (this.#held.get(name) ?? 0) > 0) {
        const names = users.slice(0, 5).map((record) => record.displayName);
        const more = users.length > 5 ? ` and ${users.length - 5} more` : '';
        const who = users.length === 0 ? 'a volume that is being created' : `${names.join(', ')}${more}`;
        throw refused('class-in-use', `storage class ${name} is used by ${who}; delete (and purge) those first`);
      }
      // Out of sight in the turn in which its users were counted, so that no volume is made with it meanwhile.
      this.#classes.delete(name);
      try {
        await stepOf('delete storage class', meta.transaction({ delete: [classKey(name)] }));
      } catch (thrown) {
        if (storageClass !== undefined) this.#classes.set(name, storageClass);
        throw thrown;
      }
      this.#damaged = this.#damaged.filter((other) => other !== name);
      events.append({
        kind: 'class.deleted',
        volume: '',
        volumeId: '',
        actor: caller.actor,
        message: `storage class ${name} deleted`,
        level: 'info',
      });
    });
  }

  #exists(name: string): ControlError {
    return new ControlError(`a storage class named "${name}" exists already`, {
      code: 'EXISTS',
      what: 'storage class',
      name,
    });
  }
}

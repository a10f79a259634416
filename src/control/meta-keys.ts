/**
 * Where this room keeps things in the MetaStore:
 *
 *     control/node                 {"formatVersion":1}   made on the first start, before any layer
 *     control/volume/ID            VolumeRow as JSON
 *     control/name/NAME            {"id":ID}             one for each live volume: makes names unique
 *     control/making/ID            {}                    a volume that is being made: written before its key and layer; or
 *                                                        one that gets another head layer: written before that layer
 *     control/snapshot/ID          SnapshotRow as JSON
 *     control/schedule/ID          ScheduleRow as JSON, under the id of its volume
 *     control/class/NAME           StorageClass as JSON; built-in classes have none
 *     control/qos-policy/NAME      QosPolicy as JSON
 *     control/data-key/NUMBER      wrapped data key, as the vault gave it; whose it is only rows say (key-needs.ts)
 *     control/data-key-counter     {"last":NUMBER}       the highest number ever used
 *     control/scrub/ID             ScrubRow as JSON       how far a scrub of the volume has come, and what it found
 *     control/events/FIRST         JSON array of events, FIRST is the id of the first (16 digits)
 *
 * A volume that is neither live, retained nor deleting has no row. Its layer and keys are orphans of a crash if a
 * creation was under way, and otherwise the proof that rows were lost.
 */
export const NODE_KEY = 'control/node';
export const VOLUME_PREFIX = 'control/volume/';
export const NAME_PREFIX = 'control/name/';
export const MAKING_PREFIX = 'control/making/';
export const SNAPSHOT_PREFIX = 'control/snapshot/';
export const SCHEDULE_PREFIX = 'control/schedule/';
export const CLASS_PREFIX = 'control/class/';
export const QOS_POLICY_PREFIX = 'control/qos-policy/';
export const DATA_KEY_PREFIX = 'control/data-key/';
export const DATA_KEY_COUNTER = 'control/data-key-counter';
export const SCRUB_PREFIX = 'control/scrub/';
export const EVENTS_PREFIX = 'control/events/';

export const CONTROL_FORMAT_VERSION = 1;

export function volumeKey(id: string): string {
  return VOLUME_PREFIX + id;
}

export function nameKey(name: string): string {
  return NAME_PREFIX + name;
}

export function makingKey(id: string): string {
  return MAKING_PREFIX + id;
}

export function snapshotKey(id: string): string {
  return SNAPSHOT_PREFIX + id;
}

export function scheduleKey(volumeId: string): string {
  return SCHEDULE_PREFIX + volumeId;
}

export function classKey(name: string): string {
  return CLASS_PREFIX + name;
}

export function qosPolicyKey(name: string): string {
  return QOS_POLICY_PREFIX + name;
}

export function scrubKey(volumeId: string): string {
  return SCRUB_PREFIX + volumeId;
}

export function dataKeyKey(number: number): string {
  return DATA_KEY_PREFIX + String(number);
}

/** Ids in the key are padded, so that listing by key is listing by age. */
export function eventsKey(firstId: number): string {
  return EVENTS_PREFIX + String(firstId).padStart(16, '0');
}

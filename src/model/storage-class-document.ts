/**
 * Storage class files, JSON or YAML, in the shape of examples/:
 *
 *   name                  required; 1 to 63 of a-z 0-9 - _ .
 *   provisioner           text; default "galleonfs"
 *   parameters
 *     encryption            true, false, or the algorithm, "AES-256-GCM"; default true
 *     encryption_algorithm  "AES-256-GCM", the only one
 *     fs_type               ext4 (default) or xfs
 *     replication           copies wanted, 1 (default) to 7
 *     consistency_level     eventual or strong; default strong
 *     replication_strategy  sync or async; default sync for strong, async for eventual
 *     compression           "none", the only one yet
 *     qos_policy            name of a policy of quality of service; default none
 *   reclaim_policy        Delete (default) or Retain
 *   volume_binding_mode   Immediate (default) or WaitForFirstConsumer
 *   allowed_topologies    list of { key, values }
 *   mount_options         list of texts
 *
 * Parameters may be typed or text ("3", "true"), as in the class files of container platforms. There are no other fields.
 */
import { z } from 'zod';
import { DEFAULT_PROVISIONER } from './built-in-classes.js';
import { documentName, oneOf, readDocument, text, textsOf } from './document.js';
import {
  CLASS_NAME_LENGTH_MAX,
  MOUNT_OPTION_LENGTH_MAX,
  MOUNT_OPTIONS_MAX,
  PROVISIONER_LENGTH_MAX,
  REPLICAS_MAX,
  TOPOLOGIES_MAX,
  TOPOLOGY_VALUES_MAX,
} from './limits.js';
import { BINDING_MODES, ENCRYPTION_ALGORITHM, FS_TYPES, RECLAIM_POLICIES, type StorageClass } from './storage-class.js';

const TOPOLOGY_KEY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
const PROVISIONER_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;
/** Options are handed to mount(8) joined by commas: nothing in one may start another, or a flag. */
const MOUNT_OPTION_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._=:/@+-]*$/;

const encryption = oneOf({
  true: true,
  false: false,
  [ENCRYPTION_ALGORITHM]: true,
  none: false,
});

const parameters = z.strictObject({
  encryption: encryption.optional(),
  encryption_algorithm: oneOf({ [ENCRYPTION_ALGORITHM]: true }).optional(),
  fs_type: oneOf(namesOf(FS_TYPES)).optional(),
  replication: oneOf(
    Object.fromEntries(Array.from({ length: REPLICAS_MAX }, (_, index) => [String(index + 1), index + 1])),
  ).optional(),
  consistency_level: oneOf({ eventual: 'eventual', strong: 'strong' } as const).optional(),
  replication_strategy: oneOf({
    sync: 'sync',
    async: 'async',
    synchronous: 'sync',
    asynchronous: 'async',
  } as const).optional(),
  compression: oneOf({ none: true }).optional(),
  qos_policy: documentName(CLASS_NAME_LENGTH_MAX).optional(),
});

const topology = z.strictObject({
  key: text(TOPOLOGY_KEY_PATTERN, 253, 'a label key such as zone'),
  values: z
    .array(text(TOPOLOGY_KEY_PATTERN, 253, 'a label value'))
    .min(1)
    .max(TOPOLOGY_VALUES_MAX),
});

const classDocument = z.strictObject({
  name: documentName(CLASS_NAME_LENGTH_MAX),
  provisioner: text(PROVISIONER_PATTERN, PROVISIONER_LENGTH_MAX, 'letters, digits, ".", "-", "_" and "/"').optional(),
  parameters: parameters.optional(),
  reclaim_policy: z.enum(RECLAIM_POLICIES).optional(),
  volume_binding_mode: z.enum(BINDING_MODES).optional(),
  allowed_topologies: z.array(topology).max(TOPOLOGIES_MAX).optional(),
  mount_options: z
    .array(
      text(MOUNT_OPTION_PATTERN, MOUNT_OPTION_LENGTH_MAX, 'one mount option such as noatime, without commas or spaces'),
    )
    .max(MOUNT_OPTIONS_MAX)
    .optional(),
});

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  '': Object.keys(classDocument.shape),
  parameters: Object.keys(parameters.shape),
  allowed_topologies: Object.keys(topology.shape),
};

/** `fileName` is for messages. Throws ModelError DOCUMENT that lists every problem. It comes back with `builtIn` false. */
export function parseStorageClass(document: string, fileName: string, createdAtMs: number): StorageClass {
  const { data, value } = readDocument(document, fileName, {
    what: 'a storage class',
    schema: classDocument,
    fields: FIELDS,
    problems: ({ parameters: given }) =>
      given?.encryption === false && given.encryption_algorithm !== undefined
        ? [
            {
              path: ['parameters', 'encryption_algorithm'],
              text: 'stands beside encryption: false; remove one of them',
            },
          ]
        : [],
  });
  const given = data.parameters ?? {};
  const consistencyLevel = given.consistency_level ?? 'strong';
  return {
    name: data.name,
    provisioner: data.provisioner ?? DEFAULT_PROVISIONER,
    parameters: {
      encryption: given.encryption ?? true,
      fsType: given.fs_type ?? 'ext4',
      replication: given.replication ?? 1,
      consistencyLevel,
      replicationStrategy: given.replication_strategy ?? (consistencyLevel === 'strong' ? 'sync' : 'async'),
      qosPolicy: given.qos_policy ?? '',
    },
    givenParameters: textsOf((value as { parameters?: object }).parameters ?? {}),
    reclaimPolicy: data.reclaim_policy ?? 'Delete',
    volumeBindingMode: data.volume_binding_mode ?? 'Immediate',
    allowedTopologies: data.allowed_topologies ?? [],
    mountOptions: data.mount_options ?? [],
    builtIn: false,
    createdAtMs,
  };
}

function namesOf<T extends string>(names: readonly T[]): Record<T, T> {
  return Object.fromEntries(names.map((name) => [name, name])) as Record<T, T>;
}

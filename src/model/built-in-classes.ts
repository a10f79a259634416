import type { StorageClass } from './storage-class.js';

export const DEFAULT_CLASS_NAME = 'encrypted-storage';
export const DEFAULT_PROVISIONER = 'galleonfs';

/** Classes that exist from the start and cannot be deleted. */
export const BUILT_IN_CLASSES: readonly StorageClass[] = [
  {
    name: 'fast-local-ssd',
    provisioner: DEFAULT_PROVISIONER,
    parameters: {
      encryption: false,
      fsType: 'ext4',
      replication: 1,
      consistencyLevel: 'eventual',
      replicationStrategy: 'async',
      qosPolicy: '',
    },
    givenParameters: { encryption: 'false', fs_type: 'ext4', replication: '1', consistency_level: 'eventual' },
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'Immediate',
    allowedTopologies: [],
    mountOptions: ['noatime'],
    builtIn: true,
    createdAtMs: 0,
  },
  {
    name: DEFAULT_CLASS_NAME,
    provisioner: DEFAULT_PROVISIONER,
    parameters: {
      encryption: true,
      fsType: 'ext4',
      replication: 3,
      consistencyLevel: 'strong',
      replicationStrategy: 'sync',
      qosPolicy: '',
    },
    givenParameters: {
      encryption: 'true',
      encryption_algorithm: 'AES-256-GCM',
      fs_type: 'ext4',
      replication: '3',
      consistency_level: 'strong',
    },
    reclaimPolicy: 'Retain',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowedTopologies: [],
    mountOptions: [],
    builtIn: true,
    createdAtMs: 0,
  },
];

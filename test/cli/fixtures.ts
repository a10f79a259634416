import type { Snapshot } from '../../src/ipc/generated/snapshots.js';
import type { Event, NodeStatus, StatsSample, StorageClass } from '../../src/ipc/generated/control.js';

const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 6);

export const STORAGE_CLASSES: StorageClass[] = [
  {
    name: 'encrypted-storage',
    provisioner: 'galleonfs.io/distributed',
    encryption: true,
    fsType: 'ext4',
    replication: 3,
    consistencyLevel: 'durable',
    reclaimPolicy: 'Retain',
    volumeBindingMode: 'WaitForFirstConsumer',
    allowedTopologies: [],
    mountOptions: ['noatime'],
    isDefault: true,
    builtIn: true,
    createdAtMs: 0,
    parameters: { encryption: 'aes-256-gcm' },
  },
  {
    name: 'fast-local-ssd',
    provisioner: 'galleonfs.io/local',
    encryption: false,
    fsType: 'xfs',
    replication: 1,
    consistencyLevel: 'acknowledged',
    reclaimPolicy: 'Delete',
    volumeBindingMode: 'Immediate',
    allowedTopologies: [{ key: 'zone', values: ['a', 'b'] }],
    mountOptions: [],
    isDefault: false,
    builtIn: true,
    createdAtMs: AT_MS,
    parameters: {},
  },
];

export function fakeStatus(): NodeStatus {
  return {
    nodeId: 'node-a',
    version: '0.1.0',
    pid: 2 ** 22 + 1, // beyond any process number of Linux
    startedAtMs: AT_MS,
    ready: true,
    state: 'ready',
    storagePath: '/srv/galleon',
    ipcAddress: '127.0.0.1:8090',
    nbdAddress: '127.0.0.1:10809',
    nbdSocket: '/srv/galleon/run/nbd.sock',
    metricsAddress: '127.0.0.1:9810',
    volumes: 2,
    retainedVolumes: 1,
    exports: 1,
    connections: 3,
    liveBytes: 3 * 1024 ** 2,
    journalBytes: 64 * 1024 ** 2,
    replayBytes: 4096,
    freeBytes: 10 * 1024 ** 3,
    totalBytes: 20 * 1024 ** 3,
    provisionedBytes: 2 * 1024 ** 3,
    lastRecovery: 'replayed 0 records in 2 ms',
    problems: [],
    keyProvider: 'file',
    blockBytes: 4096,
    snapshots: 0,
  };
}

export const GOLDEN_EVENTS: Event[] = [
  {
    id: 1,
    atMs: AT_MS,
    kind: 'volume.created',
    volume: 'data',
    volumeId: 'ab12',
    actor: 'cli uid=0',
    message: 'created, 1 GiB',
    level: 'info',
  },
  {
    id: 2,
    atMs: AT_MS + 1000,
    kind: 'request.failed',
    volume: 'data',
    volumeId: 'ab12',
    actor: 'nbd 127.0.0.1:4242',
    message: 'export "\u001b[31mred" refused',
    level: 'error',
  },
];

export const GOLDEN_STATS: StatsSample = {
  atMs: AT_MS,
  seconds: 2,
  volumes: [
    {
      id: 'ab12',
      name: 'data',
      readIops: 1234.4,
      writeIops: 5.25,
      readBytesPerSecond: 4 * 1024 ** 2,
      writeBytesPerSecond: 0,
      readLatencyMsP50: 0.12,
      readLatencyMsP99: 3.5,
      writeLatencyMsP50: 0,
      writeLatencyMsP99: 1200,
      clients: 2,
      inFlight: 7,
      errors: 1,
      sizeBytes: 1024 ** 3,
      allocatedBytes: 1024 ** 2,
      reads: 10,
      writes: 20,
      readBytes: 40_960,
      writtenBytes: 81_920,
      throttledSeconds: 0,
      throttledOperations: 0,
      waiting: 0,
    },
  ],
};

export const GOLDEN_SNAPSHOT: Snapshot = {
  id: '1f8fad5b-d9cb-469f-a165-70867728950e',
  name: 'monday',
  volume: 'data',
  volumeId: '0f8fad5b-d9cb-469f-a165-70867728950e',
  sizeBytes: 1024 ** 3,
  blockBytes: 4096,
  createdAtMs: Date.UTC(2026, 0, 2, 3, 4, 5, 6),
  exclusiveBytes: 8192,
  referencedBytes: 16_384,
  held: false,
  origin: 'manual',
  labels: {},
  encrypted: true,
  state: 'available',
  stateReason: '',
  export: undefined,
};

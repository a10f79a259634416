export const RECLAIM_POLICIES = ['Retain', 'Delete'] as const;
/** Retain: a deleted volume's data is kept until it is purged. Delete: it is removed at once. */
export type ReclaimPolicy = (typeof RECLAIM_POLICIES)[number];

export const BINDING_MODES = ['Immediate', 'WaitForFirstConsumer'] as const;
/** WaitForFirstConsumer delays placement only; on one node such a volume is available at once. */
export type BindingMode = (typeof BINDING_MODES)[number];

export const FS_TYPES = ['ext4', 'xfs'] as const;
export type FsType = (typeof FS_TYPES)[number];

export const CONSISTENCY_LEVELS = ['eventual', 'strong'] as const;
/** eventual: replicas follow. strong: a durable write is on the in-sync replicas too. */
export type ConsistencyLevel = (typeof CONSISTENCY_LEVELS)[number];

export const REPLICATION_STRATEGIES = ['async', 'sync'] as const;
export type ReplicationStrategy = (typeof REPLICATION_STRATEGIES)[number];

export const ENCRYPTION_ALGORITHM = 'AES-256-GCM';

export interface ClassParameters {
  readonly encryption: boolean;
  /** What a volume is formatted with when it is first mounted. */
  readonly fsType: FsType;
  /** Copies wanted, this node's included. */
  readonly replication: number;
  readonly consistencyLevel: ConsistencyLevel;
  readonly replicationStrategy: ReplicationStrategy;
  /** Name of the policy of quality of service that volumes are born with; '': none. */
  readonly qosPolicy: string;
}

export interface AllowedTopology {
  readonly key: string;
  readonly values: readonly string[];
}

/** The policy that a volume is born with. */
export interface StorageClass {
  readonly name: string;
  readonly provisioner: string;
  readonly parameters: ClassParameters;
  /** The document's parameters as text, as the user gave them. */
  readonly givenParameters: Readonly<Record<string, string>>;
  readonly reclaimPolicy: ReclaimPolicy;
  readonly volumeBindingMode: BindingMode;
  readonly allowedTopologies: readonly AllowedTopology[];
  readonly mountOptions: readonly string[];
  readonly builtIn: boolean;
  /** Milliseconds since 1970; 0 for built-in classes. */
  readonly createdAtMs: number;
}

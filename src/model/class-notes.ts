import type { StorageClass } from './storage-class.js';

/**
 * What a class asks for that has no effect on a node alone, a sentence each: said when the class is made, so that
 * nobody relies on what is not there.
 */
export function notesOf(storageClass: StorageClass): string[] {
  const notes: string[] = [];
  const { replication } = storageClass.parameters;
  if (replication > 1) {
    const copies = String(replication);
    notes.push(
      `parameters.replication ${copies}: this node is alone, so volumes have one copy and say replicas 1/${copies}`,
    );
  }
  for (const name of ['consistency_level', 'replication_strategy']) {
    const given = storageClass.givenParameters[name];
    if (given !== undefined)
      notes.push(`parameters.${name} ${given}: recorded; has no effect until there are replicas`);
  }
  if (storageClass.volumeBindingMode === 'WaitForFirstConsumer') {
    notes.push('volume_binding_mode WaitForFirstConsumer: on one node there is nothing to wait for');
  }
  if (storageClass.allowedTopologies.length > 0) {
    notes.push('allowed_topologies: recorded; has no effect on one node');
  }
  if (storageClass.mountOptions.length > 0 || 'fs_type' in storageClass.givenParameters) {
    notes.push('mount_options, parameters.fs_type: recorded; they take effect when galleonfs mounts the volume itself');
  }
  return notes;
}

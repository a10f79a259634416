import type { StorageClasses } from '../../control/storage-classes.js';
import type { StorageClass } from '../../model/storage-class.js';
import type { StorageClass as StorageClassMessage, StorageClassesServer } from '../generated/control.js';
import type { CallGate } from './call-gate.js';
import { unary } from './call-handlers.js';

/** The service StorageClasses of control.proto. */
export function storageClassesService(gate: CallGate, classes: StorageClasses): StorageClassesServer {
  const toMessage = (storageClass: StorageClass): StorageClassMessage => ({
    name: storageClass.name,
    provisioner: storageClass.provisioner,
    encryption: storageClass.parameters.encryption,
    fsType: storageClass.parameters.fsType,
    replication: storageClass.parameters.replication,
    consistencyLevel: storageClass.parameters.consistencyLevel,
    reclaimPolicy: storageClass.reclaimPolicy,
    volumeBindingMode: storageClass.volumeBindingMode,
    allowedTopologies: storageClass.allowedTopologies.map(({ key, values }) => ({ key, values: [...values] })),
    mountOptions: [...storageClass.mountOptions],
    isDefault: classes.isDefault(storageClass),
    builtIn: storageClass.builtIn,
    createdAtMs: storageClass.createdAtMs,
    parameters: { ...storageClass.givenParameters },
  });
  return {
    list: unary(gate, () => ({ classes: classes.list().map(toMessage) })),
    get: unary(gate, ({ name }) => toMessage(classes.get(name))),
    create: unary(gate, async ({ document, fileName }, caller) =>
      toMessage((await classes.create(document, fileName, caller)).storageClass),
    ),
    delete: unary(gate, async ({ name }, caller) => {
      await classes.delete(name, caller);
      return { name };
    }),
  };
}

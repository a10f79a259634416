import { basename } from 'node:path';
import type { StorageClass } from '../../ipc/generated/control.js';
import { command } from '../command.js';
import { readDocumentFile } from '../document-file.js';
import type { Output } from '../output/output.js';
import type { Column } from '../output/table.js';
import { toIso } from '../output/volume-view.js';

const CLASS = { summary: 'name of the class', required: true, completes: 'storage-class' } as const;

export const storageClassList = command({
  verb: ['storage-class', 'list'],
  summary: 'show the policies that volumes can be born with',
  words: {},
  options: {},
  async run(_words, _options, session) {
    const classes = await (await session.client()).listStorageClasses();
    session.output.answer(classes.map(toClassView), () => classTable(classes, session.output));
  },
});

export const storageClassGet = command({
  verb: ['storage-class', 'get'],
  summary: 'show one storage class',
  words: { class: CLASS },
  options: {},
  async run(words, _options, session) {
    const found = await (await session.client()).getStorageClass(words.class);
    session.output.answer(toClassView(found), () => classFacts(found, session.output));
  },
});

export const storageClassCreate = command({
  verb: ['storage-class', 'create'],
  summary: 'make a storage class from a JSON or YAML file',
  words: { file: { summary: 'the file; examples/ has some', required: true, completes: 'file' } },
  options: {},
  async run({ file }, _options, session) {
    const document = await readDocumentFile(session.path(file), file, 'a storage class');
    const made = await (await session.client()).createStorageClass({ document, fileName: basename(file) });
    session.output.answer(toClassView(made), () => `storage class ${made.name} created`);
  },
});

export const storageClassDelete = command({
  verb: ['storage-class', 'delete'],
  summary: 'remove a storage class that no volume uses',
  words: { class: CLASS },
  options: {},
  async run(words, _options, session) {
    const name = await (await session.client()).deleteStorageClass(words.class);
    session.output.answer({ name }, () => `storage class ${name} deleted`);
  },
});

function toClassView(of: StorageClass): object {
  return {
    name: of.name,
    provisioner: of.provisioner,
    encryption: of.encryption,
    fsType: of.fsType,
    replication: of.replication,
    consistencyLevel: of.consistencyLevel,
    reclaimPolicy: of.reclaimPolicy,
    volumeBindingMode: of.volumeBindingMode,
    allowedTopologies: of.allowedTopologies.map(({ key, values }) => ({ key, values })),
    mountOptions: of.mountOptions,
    isDefault: of.isDefault,
    builtIn: of.builtIn,
    createdAt: of.createdAtMs > 0 ? toIso(of.createdAtMs) : null,
    parameters: of.parameters,
  };
}

function classTable(classes: readonly StorageClass[], output: Output): string {
  const columns: Column<StorageClass>[] = [
    { title: 'NAME', value: (of) => (of.isDefault ? `${of.name} (default)` : of.name), widthMin: 16 },
    { title: 'ENCRYPTED', value: (of) => (of.encryption ? 'yes' : 'no') },
    { title: 'REPLICAS', value: (of) => String(of.replication), align: 'right' },
    { title: 'RECLAIM', value: (of) => of.reclaimPolicy, dropOrder: 1 },
    { title: 'BINDING', value: (of) => of.volumeBindingMode, dropOrder: 3 },
    { title: 'CONSISTENCY', value: (of) => of.consistencyLevel, dropOrder: 2 },
    { title: 'PROVISIONER', value: (of) => of.provisioner, dropOrder: 4 },
  ];
  return output.table(columns, classes);
}

function classFacts(of: StorageClass, output: Output): string {
  return output.facts([
    ['name', of.name],
    ['default', of.isDefault ? 'yes' : 'no'],
    ['built in', of.builtIn ? 'yes' : 'no'],
    ['provisioner', of.provisioner],
    ['encrypted', of.encryption ? 'yes' : 'no'],
    ['replicas', String(of.replication)],
    ['file system', of.fsType],
    ['consistency', of.consistencyLevel],
    ['reclaim policy', of.reclaimPolicy],
    ['binding', of.volumeBindingMode],
    ['qos policy', of.parameters['qos_policy'] ?? ''],
    ['mount options', of.mountOptions.join(', ')],
    ['topologies', of.allowedTopologies.map(({ key, values }) => `${key}: ${values.join(', ')}`).join('; ')],
    ['created', of.createdAtMs > 0 ? toIso(of.createdAtMs) : ''],
  ]);
}

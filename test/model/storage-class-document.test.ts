import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { BUILT_IN_CLASSES, DEFAULT_CLASS_NAME } from '../../src/model/built-in-classes.js';
import { notesOf } from '../../src/model/class-notes.js';
import { ModelError } from '../../src/model/model-error.js';
import { parseStorageClassRow } from '../../src/model/row-shape.js';
import { parseStorageClass } from '../../src/model/storage-class-document.js';

const EXAMPLES = new URL('../../examples/', import.meta.url);

/** `path (line): text` of each problem. */
function problemsOf(document: string): string[] {
  try {
    parseStorageClass(document, 'class.yaml', 0);
  } catch (thrown) {
    if (thrown instanceof ModelError && thrown.fault.code === 'DOCUMENT') {
      return thrown.fault.problems.map(({ path, line, text }) => `${path} (${String(line)}): ${text}`);
    }
    throw thrown;
  }
  return [];
}

describe('parseStorageClass', () => {
  it('takes every example, and its row comes back as it was', async () => {
    const names = (await readdir(EXAMPLES)).filter((name) => /^(?!qos-).*\.(json|ya?ml)$/.test(name));
    expect(names.length).toBeGreaterThanOrEqual(3);
    for (const name of names) {
      const parsed = parseStorageClass(await readFile(new URL(name, EXAMPLES), 'utf8'), name, 5);
      expect(parseStorageClassRow(JSON.parse(JSON.stringify(parsed)), name)).toEqual(parsed);
      expect(BUILT_IN_CLASSES.map((builtIn) => builtIn.name)).not.toContain(parsed.name);
    }
  });

  it('reads JSON and YAML alike, typed or as text', () => {
    const json = parseStorageClass(
      '{"name":"c","parameters":{"encryption":"false","replication":"2","fs_type":"xfs","consistency_level":"eventual"},"mount_options":["noatime"]}',
      'c.json',
      9,
    );
    const yaml = parseStorageClass(
      'name: c\nparameters: {encryption: false, replication: 2, fs_type: xfs, consistency_level: eventual}\nmount_options: [noatime]\n',
      'c.yaml',
      9,
    );
    expect(json).toEqual(yaml);
    expect(json).toEqual({
      name: 'c',
      provisioner: 'galleonfs',
      parameters: {
        encryption: false,
        fsType: 'xfs',
        replication: 2,
        consistencyLevel: 'eventual',
        replicationStrategy: 'async',
        qosPolicy: '',
      },
      givenParameters: { encryption: 'false', replication: '2', fs_type: 'xfs', consistency_level: 'eventual' },
      reclaimPolicy: 'Delete',
      volumeBindingMode: 'Immediate',
      allowedTopologies: [],
      mountOptions: ['noatime'],
      builtIn: false,
      createdAtMs: 9,
    });
  });

  it('encrypts unless it is told not to', () => {
    expect(parseStorageClass('name: c', 'c.yaml', 0).parameters.encryption).toBe(true);
    for (const text of ['AES-256-GCM', 'aes-256-gcm', '"true"']) {
      expect(parseStorageClass(`name: c\nparameters: {encryption: ${text}}`, 'c.yaml', 0).parameters.encryption).toBe(
        true,
      );
    }
  });

  it('names every wrong field at once, with its line and what is allowed', () => {
    const problems = problemsOf(`name: My Class
provisioner: galleonfs
parameters:
  encryption: rot13
  replication: 9
  fs_type: ntfs
  colour: blue
  compression: zstd
reclaimPolicy: Retain
volume_binding_mode: Later
allowed_topologies:
  - key: zone
    values: []
    weight: 3
mount_options: noatime
`);
    expect(problems.sort()).toEqual(
      [
        'name (1): "My Class" has "M" at position 1 (write "m"): allowed are a-z, 0-9, "-", "_" and "."',
        'parameters.encryption (4): "rot13" is not allowed; allowed: true, false, AES-256-GCM, none',
        'parameters.replication (5): 9 is not allowed; allowed: 1, 2, 3, 4, 5, 6, 7',
        'parameters.fs_type (6): "ntfs" is not allowed; allowed: ext4, xfs',
        'parameters.colour (7): unknown field; allowed here: encryption, encryption_algorithm, fs_type, replication, consistency_level, replication_strategy, compression, qos_policy',
        'parameters.compression (8): "zstd" is not allowed; allowed: none',
        'reclaimPolicy (9): unknown field (did you mean reclaim_policy?); allowed here: name, provisioner, parameters, reclaim_policy, volume_binding_mode, allowed_topologies, mount_options',
        'volume_binding_mode (10): "Later" is not allowed; allowed: Immediate, WaitForFirstConsumer',
        'allowed_topologies[0].values (13): has too few items; at least 1',
        'allowed_topologies[0].weight (14): unknown field; allowed here: key, values',
        'mount_options (15): "noatime" is not allowed; it must be a list',
      ].sort(),
    );
  });

  it('puts file and line before each problem in its message', () => {
    expect(() => parseStorageClass('name: c\nparameters:\n  fs_type: ntfs\n', 'my.yaml', 0)).toThrow(
      /^my\.yaml:3: parameters\.fs_type: "ntfs" is not allowed; allowed: ext4, xfs$/,
    );
  });

  it.each([
    ['', ['(0): a storage class is a map of fields; found nothing']],
    ['[1]', ['(0): a storage class is a map of fields; found a list']],
    ['provisioner: x', ['name (0): is required']],
    ['name: 7', ['name (1): 7 is not allowed; it must be text']],
    ['name: c\nparameters: fast', ['parameters (2): "fast" is not allowed; it must be a map']],
    ['name: c\nreclaim_policy: retain', ['reclaim_policy (2): "retain" is not allowed; allowed: Retain, Delete']],
    [
      'name: c\nparameters: {encryption: false, encryption_algorithm: AES-256-GCM}',
      ['parameters.encryption_algorithm (2): stands beside encryption: false; remove one of them'],
    ],
  ])('refuses %j', (document, problems) => {
    expect(problemsOf(document).map((problem) => problem.trim())).toEqual(problems);
  });

  it.each([
    ['{"name": "c",}', /not JSON/],
    ['name: [', /\(1\)|\(2\)/],
    ['name: a\nname: b', /unique/],
    ['name: a\n---\nname: b', /documents/],
  ])('refuses what does not parse: %j', (document, message) => {
    expect(problemsOf(document).join('\n')).toMatch(message);
  });

  it.each(['noatime,suid', 'a b', '-o', '', 'x\ny', '$(reboot)'])('refuses the mount option %j', (option) => {
    const problems = problemsOf(JSON.stringify({ name: 'c', mount_options: [option] }));
    expect(problems).toEqual([expect.stringMatching(/^mount_options\[0\] .* allowed: one mount option/)]);
  });

  it('refuses documents that are too long, or that unfold', () => {
    expect(problemsOf(`name: ${'c'.repeat(70_000)}`)).toEqual([expect.stringMatching(/longer than 65536 bytes/)]);
    const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]'];
    for (const [at, name] of ['b', 'c', 'd', 'e', 'f'].entries()) {
      const before = 'abcdef'[at] ?? '';
      bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(',')}]`);
    }
    expect(problemsOf(bomb.join('\n'))).toEqual([expect.stringMatching(/alias/i)]);
  });
});

describe('the built-in classes', () => {
  it('are the two that exist from the start, the encrypted one by default', () => {
    expect(BUILT_IN_CLASSES.map(({ name }) => name)).toEqual(['fast-local-ssd', 'encrypted-storage']);
    expect(DEFAULT_CLASS_NAME).toBe('encrypted-storage');
    for (const builtIn of BUILT_IN_CLASSES) {
      expect(parseStorageClassRow(JSON.parse(JSON.stringify(builtIn)), builtIn.name)).toEqual(builtIn);
    }
  });

  it('say what has no effect on a node alone', () => {
    const [local, encrypted] = BUILT_IN_CLASSES;
    if (local === undefined || encrypted === undefined) throw new Error('both are there');
    expect(notesOf(encrypted).join('\n')).toMatch(/replicas 1\/3/);
    expect(notesOf(encrypted).join('\n')).toMatch(/nothing to wait for/);
    expect(notesOf(local).join('\n')).not.toMatch(/replicas 1\//);
  });
});

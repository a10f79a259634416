import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { stringify as stringifyToml } from 'smol-toml';
import { readConfigFile } from '../../src/daemon/config-file.js';
import { readConfiguration } from '../../src/daemon/configuration.js';
import { DaemonError } from '../../src/daemon/daemon-error.js';
import { SETTINGS } from '../../src/daemon/setting-table.js';
import { CLASS_DOCUMENT_BYTES_MAX } from '../../src/model/limits.js';
import { ModelError } from '../../src/model/model-error.js';
import { parseStorageClassRow, parseVolumeRow } from '../../src/model/row-shape.js';
import { parseStorageClass } from '../../src/model/storage-class-document.js';
import type { StorageClass } from '../../src/model/storage-class.js';
import { corpusOf } from './corpus.js';
import { FUZZ_TIMEOUT_MS, check, checkAsync, replayedWith } from './fuzzing.js';
import { mutatedText } from './mutations.js';

const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const example = (name: string): string => readFileSync(new URL(`../../examples/${name}`, import.meta.url), 'utf8');

/** Words that the documents are made of, and some that only an attacker would write. */
const WORDS = [
  ...['true', 'false', 'AES-256-GCM', 'none', 'ext4', 'xfs', 'strong', 'eventual', 'sync', 'async', 'Delete', 'Retain'],
  ...['Immediate', 'noatime', 'zone', '3', '0', '-1', '1e400', '.nan', '~', '', ' ', 'name', 'parameters', '__proto__'],
  ...[
    'constructor',
    'toString',
    '*a',
    '&a',
    '<<',
    '!!binary',
    '!!js/function',
    '2026-01-01',
    '\u0000',
    '\ud800',
    '\u2028',
  ],
];
const scalar = fc.oneof(
  fc.constantFrom(...WORDS),
  fc.string({ maxLength: 20 }),
  fc.boolean(),
  fc.integer(),
  fc.constant(null),
);

const anyValue = fc.oneof(
  scalar,
  fc.array(scalar, { maxLength: 4 }),
  fc.dictionary(fc.constantFrom(...WORDS), scalar, { maxKeys: 3 }),
);

/** The right value most of the time: a document is refused at its first slip, and would say nothing about the rest. */
const mostly = <T>(right: fc.Arbitrary<T>): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: anyValue });

const classDocument = fc.record(
  {
    name: mostly(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/)),
    provisioner: mostly(fc.constantFrom('galleonfs', 'a/b')),
    parameters: mostly(
      fc.record(
        {
          encryption: mostly(fc.constantFrom(true, false, 'true', 'AES-256-GCM')),
          encryption_algorithm: mostly(fc.constant('AES-256-GCM')),
          fs_type: mostly(fc.constantFrom('ext4', 'xfs')),
          replication: mostly(fc.constantFrom(1, 3, '3')),
          consistency_level: mostly(fc.constantFrom('eventual', 'strong')),
          replication_strategy: mostly(fc.constantFrom('sync', 'async', 'synchronous')),
          compression: mostly(fc.constant('none')),
        },
        { requiredKeys: [] },
      ),
    ),
    reclaim_policy: mostly(fc.constantFrom('Delete', 'Retain')),
    volume_binding_mode: mostly(fc.constantFrom('Immediate', 'WaitForFirstConsumer')),
    allowed_topologies: mostly(
      fc.array(fc.record({ key: mostly(fc.constant('zone')), values: mostly(fc.array(mostly(fc.constant('a')))) }), {
        maxLength: 3,
      }),
    ),
    mount_options: mostly(fc.array(mostly(fc.constantFrom('noatime', 'discard=async')), { maxLength: 3 })),
  },
  { requiredKeys: ['name'] },
);

/** What a document says, or its declared error with at least one problem; anything else fails the test. */
function readClass(document: string): StorageClass | ModelError {
  try {
    return parseStorageClass(document, 'class.yaml', 7);
  } catch (thrown) {
    if (!(thrown instanceof ModelError) || thrown.fault.code !== 'DOCUMENT') throw thrown;
    expect(thrown.fault.problems.length).toBeGreaterThan(0);
    return thrown;
  }
}

/** A class that was read survives the MetaStore, and reads the same when it is written down again. */
function classIsSound(document: string): boolean {
  const read = readClass(document);
  if (read instanceof ModelError) return false;
  expect(parseStorageClassRow(JSON.parse(JSON.stringify(read)), 'row')).toEqual(read);
  const written = {
    name: read.name,
    provisioner: read.provisioner,
    parameters: read.givenParameters,
    reclaim_policy: read.reclaimPolicy,
    volume_binding_mode: read.volumeBindingMode,
    allowed_topologies: read.allowedTopologies,
    mount_options: read.mountOptions,
  };
  expect(readClass(JSON.stringify(written))).toEqual(read);
  return true;
}

describe(`storage class documents (${replayedWith})`, () => {
  it('are read or refused by name, however they are written', () => {
    let sound = 0;
    check(
      fc.property(classDocument, fc.boolean(), (value, json) => {
        if (classIsSound(json ? JSON.stringify(value) : stringify(value))) sound += 1;
      }),
      500,
    );
    expect(sound).toBeGreaterThan(20);
  });

  it('are read or refused by name with their text changed', () => {
    const texts = ['database.yaml', 'encrypted-storage.yaml', 'fast-local-ssd.json'].map(example);
    for (const text of texts) expect(classIsSound(text)).toBe(true);
    const kept = corpusOf('class').map(({ bytes }) => textOf(bytes));
    const start = fc.oneof(
      fc.constantFrom(...texts, ...kept),
      classDocument.map((value) => stringify(value)),
    );
    check(
      fc.property(mutatedText(start, [...texts, ...kept]), (text) => void classIsSound(text)),
      500,
    );
  });

  it('of the corpus are read or refused by name', () => {
    for (const { bytes } of corpusOf('class')) classIsSound(textOf(bytes));
  });

  it.each([
    ['lists in lists', '['],
    ['maps in maps', '{a: '],
    ['maps in maps of JSON', '{"a":'],
    ['list items in list items', '- '],
    ['keys of keys', '? '],
    ['tags', '!a '],
    ['anchors', '&a '],
    ['aliases', '*a '],
    ['quotes', '"'],
    ['block texts', '|\n '],
    ['documents', '---\n'],
    ['directives', '%YAML 1.2\n'],
    ['merges', '<<: '],
    ['the byte order mark', '\ufeff'],
  ])(
    '%s to the limit are read or refused by name',
    (_what, unit) => {
      const count = Math.floor(CLASS_DOCUMENT_BYTES_MAX / Buffer.byteLength(unit));
      classIsSound(unit.repeat(count));
      // Also behind a beginning that is right, and short of where a stack might end.
      classIsSound(`name: a\nparameters: ${unit.repeat(300)}`);
    },
    FUZZ_TIMEOUT_MS,
  );

  // The composer's recursion ended whole processes: a stack that runs out inside the compiler of regular expressions
  // does not throw.
  it.each(['? ', '- ', '[', '{a: ', '{"a":', 'a:\n '])(
    'of %j in one another are refused before they are composed',
    (unit) => {
      const refusal = 'more than 16 things stand inside one another';
      const times = Math.floor(16_384 / unit.length);
      const nested = Array.from(
        { length: times > 2000 ? times : 300 },
        (_, n) => unit + (unit.endsWith('\n ') ? ' '.repeat(n) : ''),
      );
      const read = readClass(nested.join('').slice(0, CLASS_DOCUMENT_BYTES_MAX));
      expect(read).toMatchObject({ fault: { problems: [{ text: refusal }] } });
    },
  );

  it('that nest as deeply as a class does are read', () => {
    const read = readClass('name: a\nallowed_topologies:\n  - key: zone\n    values:\n      - "b"\n');
    expect(read).toMatchObject({ allowedTopologies: [{ key: 'zone', values: ['b'] }] });
  });

  it('with countless slips list a bounded number of them', () => {
    const read = readClass('!a '.repeat(20_000));
    expect(read instanceof ModelError && read.fault.code === 'DOCUMENT' && read.fault.problems.length).toBe(100);
  });

  it('that would unfold are refused', () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x]'];
    for (let n = 1; n < 12; n += 1)
      lines.push(
        `a${n}: &a${n} [${Array(9)
          .fill(`*a${n - 1}`)
          .join(',')}]`,
      );
    expect(readClass(`name: a\n${lines.join('\n')}\n`)).toBeInstanceOf(ModelError);
  });
});

/** TOML cannot write half a character. */
const TOML_WORDS = WORDS.filter((word) => !word.includes('\ud800'));
const SECTIONS = [...new Set(SETTINGS.map(({ key }) => key.split('.')[0] ?? ''))];
const settingNames = SETTINGS.map(({ key }) => key.split('.')[1] ?? '');
const settingText = fc.oneof(
  fc.constantFrom('64M', '4K', '30s', '127.0.0.1:0', '[::1]:9', 'off', 'info', 'file', 'command', '/data', 'x'),
  fc.constantFrom(...TOML_WORDS),
  fc.string({ maxLength: 30 }),
);
const tomlValue = fc.oneof(
  { weight: 6, arbitrary: settingText },
  { weight: 3, arbitrary: fc.boolean() },
  { weight: 3, arbitrary: fc.array(settingText, { maxLength: 3 }) },
  { weight: 1, arbitrary: fc.oneof(fc.integer(), fc.double(), fc.constant(new Date(0))) },
);
const configTree = fc.dictionary(
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...SECTIONS) },
    { weight: 1, arbitrary: fc.constantFrom(...TOML_WORDS) },
  ),
  fc.dictionary(
    fc.oneof(
      { weight: 12, arbitrary: fc.constantFrom(...settingNames) },
      { weight: 1, arbitrary: fc.constantFrom(...TOML_WORDS) },
    ),
    tomlValue,
    { maxKeys: 3 },
  ),
  { maxKeys: 3 },
);

/** Right sections with right keys, so that values are looked at. */
const soundTree = fc
  .array(fc.tuple(fc.constantFrom(...SETTINGS), settingText, fc.boolean()), { maxLength: 6 })
  .map((given) => {
    const tree: Record<string, Record<string, unknown>> = {};
    for (const [{ key, kind }, text, flag] of given) {
      const [section = '', name = ''] = key.split('.');
      (tree[section] ??= {})[name] = kind === 'boolean' ? flag : kind === 'list' ? [text] : text;
    }
    return tree;
  });

function refusedByName(thrown: unknown, path: string): void {
  if (!(thrown instanceof DaemonError) || thrown.code !== 'CONFIG') throw thrown;
  expect(thrown.message).not.toBe('');
  if (path !== '') expect(thrown.message.startsWith(path)).toBe(true);
}

/** Whether a configuration file is taken; it is refused with CONFIG only, in a message that begins with the file. */
async function configIsTaken(text: string): Promise<boolean> {
  let values: number;
  try {
    values = readConfigFile(text, 'galleonfs.toml').size;
  } catch (thrown) {
    refusedByName(thrown, 'galleonfs.toml');
    return false;
  }
  try {
    const parsed = await readConfiguration({
      argv: ['-d', '--config', 'galleonfs.toml'],
      environment: { GFS_STORAGE_PATH: '/data' },
      workingFolder: '/srv',
      readFile: () => Promise.resolve(text),
    });
    if (parsed.kind !== 'run') throw new Error('it was meant to run');
    const { settings, entries } = parsed.configuration;
    expect(entries).toHaveLength(SETTINGS.length);
    expect(entries.filter(({ source }) => source === 'file').length).toBeLessThanOrEqual(values);
    for (const bytes of [settings.blockBytes, settings.segmentBytes, settings.mapCacheBytes]) {
      expect(Number.isSafeInteger(bytes) && bytes > 0).toBe(true);
    }
    return true;
  } catch (thrown) {
    refusedByName(thrown, '');
    return false;
  }
}

describe(`configuration files (${replayedWith})`, () => {
  it('are read or refused by name, whatever values they hold', async () => {
    let taken = 0;
    await checkAsync(
      fc.asyncProperty(fc.oneof(soundTree, configTree), async (tree) => {
        if (await configIsTaken(stringifyToml(tree))) taken += 1;
      }),
      500,
    );
    expect(taken).toBeGreaterThan(20);
  });

  it('are read or refused by name with their text changed', async () => {
    const whole = example('galleonfs.toml');
    expect(await configIsTaken(whole)).toBe(true);
    const kept = corpusOf('config').map(({ bytes }) => textOf(bytes));
    const start = fc.oneof(
      fc.constantFrom(whole, ...kept),
      soundTree.map((tree) => stringifyToml(tree)),
    );
    await checkAsync(
      fc.asyncProperty(mutatedText(start, [whole, ...kept]), async (text) => {
        await configIsTaken(text);
      }),
      500,
    );
  });

  it.each(SETTINGS.filter(({ kind, fallback }) => kind === 'text' && fallback !== '').map(({ key }) => key))(
    'with nothing for %s, which cannot be nothing, are refused by name and line',
    async (key) => {
      const [section = '', name = ''] = key.split('.');
      const read = readConfiguration({
        argv: ['-d', '--config', 'galleonfs.toml', '--storage-path', '/data'],
        environment: {},
        workingFolder: '/srv',
        readFile: () => Promise.resolve(`[${section}]\n${name} = ""\n`),
      });
      await expect(read).rejects.toThrow(new RegExp(`^galleonfs.toml:2: ${key}: `));
      await expect(read).rejects.toBeInstanceOf(DaemonError);
    },
  );

  it('of the corpus are read or refused by name', async () => {
    for (const { bytes } of corpusOf('config')) await configIsTaken(textOf(bytes));
  });

  it.each([
    ['lists in lists', 'a = ', '['],
    ['tables in tables', 'a = ', '{a='],
    ['dotted keys', '', 'a.'],
    ['section headers', '', '['],
    ['quotes', 'a = ', '"'],
    ['sections', '', '[daemon]\n'],
    ['escapes', 'a = "', '\\u0041'],
    ['spaces', 'a =', ' '],
  ])(
    '%s without end are read or refused by name',
    async (_what, head, unit) => {
      for (const times of [300, 30_000]) {
        await configIsTaken(head + unit.repeat(times));
        await configIsTaken(`[daemon]\n${head}${unit.repeat(times)}\n`);
      }
    },
    FUZZ_TIMEOUT_MS,
  );
});

describe(`rows of the MetaStore (${replayedWith})`, () => {
  const row = {
    ...{ id: '01234567-89ab-cdef-0123-456789abcdef', name: 'web', layer: 3, sizeBytes: 8192, blockBytes: 4096 },
    ...{ storageClass: 'fast', volumeType: 'persistent', replicasDesired: 1, createdAtMs: 5, labels: { a: 'b' } },
    ...{
      protected: false,
      epoch: 1,
      dataKeyNumbers: [1],
      encrypted: true,
      export: null,
      retained: null,
      phase: 'live',
    },
  };

  it('have their shape, or are refused by name', () => {
    parseVolumeRow(row, 'row');
    check(
      fc.property(
        mutatedText(fc.constant(JSON.stringify(row))),
        fc.constantFrom(...Object.keys(row)),
        anyValue,
        (text, key, other) => {
          const values: unknown[] = [{ ...row, [key]: other }];
          try {
            values.push(JSON.parse(text));
          } catch {
            // decodeJson, which stands before, has refused it.
          }
          for (const value of values) {
            for (const parse of [parseVolumeRow, parseStorageClassRow]) {
              try {
                const parsed: unknown = parse(value, 'volumes/x');
                expect(parse(JSON.parse(JSON.stringify(parsed)), 'volumes/x')).toEqual(parsed);
              } catch (thrown) {
                if (!(thrown instanceof ModelError) || thrown.fault.code !== 'ROW') throw thrown;
                expect(thrown.message).toContain('volumes/x');
              }
            }
          }
        },
      ),
      1000,
    );
  });
});

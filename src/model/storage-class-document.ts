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
 *   reclaim_policy        Delete (default) or Retain
 *   volume_binding_mode   Immediate (default) or WaitForFirstConsumer
 *   allowed_topologies    list of { key, values }
 *   mount_options         list of texts
 *
 * Parameters may be typed or text ("3", "true"), as in the class files of container platforms. There are no other fields.
 */
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { messageOf } from '../base/errors.js';
import { DEFAULT_PROVISIONER } from './built-in-classes.js';
import { isTooDeep } from './document-depth.js';
import {
  CLASS_DOCUMENT_BYTES_MAX,
  CLASS_DOCUMENT_DEPTH_MAX,
  CLASS_DOCUMENT_PROBLEMS_MAX,
  CLASS_NAME_LENGTH_MAX,
  MOUNT_OPTION_LENGTH_MAX,
  MOUNT_OPTIONS_MAX,
  PROVISIONER_LENGTH_MAX,
  REPLICAS_MAX,
  TOPOLOGIES_MAX,
  TOPOLOGY_VALUES_MAX,
} from './limits.js';
import { ModelError, type DocumentProblem } from './model-error.js';
import { BINDING_MODES, ENCRYPTION_ALGORITHM, FS_TYPES, RECLAIM_POLICIES, type StorageClass } from './storage-class.js';
import { problemOf } from './volume-name.js';

type Path = readonly (string | number)[];

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
});

const topology = z.strictObject({
  key: text(TOPOLOGY_KEY_PATTERN, 253, 'a label key such as zone'),
  values: z
    .array(text(TOPOLOGY_KEY_PATTERN, 253, 'a label value'))
    .min(1)
    .max(TOPOLOGY_VALUES_MAX),
});

const classDocument = z.strictObject({
  name: z.string().superRefine((name, context) => {
    const problem = problemOf(name, CLASS_NAME_LENGTH_MAX);
    if (problem !== '') context.addIssue({ code: 'custom', message: problem });
  }),
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

/**
 * `fileName` is for messages; JSON is told from YAML by its first character. Throws ModelError DOCUMENT that lists every
 * problem at once. The class comes back with `builtIn` false.
 */
export function parseStorageClass(document: string, fileName: string, createdAtMs: number): StorageClass {
  if (Buffer.byteLength(document) > CLASS_DOCUMENT_BYTES_MAX) {
    const limit = `longer than ${String(CLASS_DOCUMENT_BYTES_MAX)} bytes`;
    throw documentError(fileName, [{ path: '', line: 0, text: `the document is ${limit}` }]);
  }
  if (isTooDeep(document)) {
    const text = `more than ${String(CLASS_DOCUMENT_DEPTH_MAX)} things stand inside one another`;
    throw documentError(fileName, [{ path: '', line: 0, text }]);
  }
  const lines = new LineCounter();
  // Warnings would go to the standard error of the daemon, in the words of whoever wrote the document.
  const tree = parseDocument(document, { lineCounter: lines, prettyErrors: false, logLevel: 'error' });
  const syntax = syntaxProblems(document, tree, lines);
  if (syntax.length > 0) throw documentError(fileName, syntax);

  let value: unknown;
  try {
    value = tree.toJS() as unknown;
  } catch (thrown) {
    // Too many aliases: a small file that would unfold into a huge one.
    throw documentError(fileName, [{ path: '', line: 0, text: messageOf(thrown) }]);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const found = describe(value);
    throw documentError(fileName, [{ path: '', line: 0, text: `a storage class is a map of fields; found ${found}` }]);
  }
  const result = classDocument.safeParse(value);
  const problems = result.success ? [] : result.error.issues.flatMap((issue) => problemsOf(issue, value, tree, lines));
  const given = result.data?.parameters ?? {};
  if (given.encryption === false && given.encryption_algorithm !== undefined) {
    const path = ['parameters', 'encryption_algorithm'];
    problems.push({
      path: shownPath(path),
      line: lineOf(tree, lines, path),
      text: 'stands beside encryption: false; remove one of them',
    });
  }
  if (!result.success || problems.length > 0) throw documentError(fileName, problems);

  const { data } = result;
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

/** A value out of a closed list, typed or as text, in any case. */
function oneOf<T extends string | number | boolean>(allowed: Readonly<Record<string, T>>): z.ZodType<T> {
  return z.unknown().transform((input, context): T => {
    const plain = typeof input === 'string' || typeof input === 'number' || typeof input === 'boolean';
    const wanted = plain ? String(input).toLowerCase() : '';
    for (const [name, meaning] of Object.entries(allowed)) {
      if (name.toLowerCase() === wanted) return meaning;
    }
    const names = Object.keys(allowed).join(', ');
    context.issues.push({ code: 'custom', input, message: `${describe(input)} is not allowed; allowed: ${names}` });
    return z.NEVER;
  });
}

function namesOf<T extends string>(names: readonly T[]): Record<T, T> {
  return Object.fromEntries(names.map((name) => [name, name])) as Record<T, T>;
}

function text(pattern: RegExp, lengthMax: number, rule: string): z.ZodType<string> {
  return z.string().superRefine((value, context) => {
    if (value.length <= lengthMax && pattern.test(value)) return;
    context.addIssue({ code: 'custom', message: `${describe(value)} is not allowed; allowed: ${rule}` });
  });
}

function syntaxProblems(document: string, tree: Document, lines: LineCounter): DocumentProblem[] {
  if (document.trimStart().startsWith('{')) {
    try {
      JSON.parse(document);
    } catch (thrown) {
      return [{ path: '', line: 0, text: `not JSON: ${messageOf(thrown)}` }];
    }
  }
  return tree.errors
    .slice(0, CLASS_DOCUMENT_PROBLEMS_MAX)
    .map((error) => ({ path: '', line: lines.linePos(error.pos[0]).line, text: error.message }));
}

function problemsOf(issue: z.core.$ZodIssue, value: object, tree: Document, lines: LineCounter): DocumentProblem[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    const fields = FIELDS[String(path[0] ?? '')] ?? [];
    return issue.keys.map((key) => ({
      path: shownPath([...path, key]),
      line: lineOf(tree, lines, [...path, key]),
      text: `unknown field${meant(key, fields)}; allowed here: ${fields.join(', ')}`,
    }));
  }
  const found = path.reduce<unknown>((at, step) => (at as Record<string | number, unknown> | undefined)?.[step], value);
  return [{ path: shownPath(path), line: lineOf(tree, lines, path), text: textOf(issue, found) }];
}

function textOf(issue: z.core.$ZodIssue, found: unknown): string {
  switch (issue.code) {
    case 'custom':
      return issue.message;
    case 'invalid_value':
      if (found === undefined) return 'is required';
      return `${describe(found)} is not allowed; allowed: ${issue.values.join(', ')}`;
    case 'invalid_type': {
      if (found === undefined) return 'is required';
      const wanted = issue.expected === 'array' ? 'a list' : issue.expected === 'object' ? 'a map' : 'text';
      return `${describe(found)} is not allowed; it must be ${wanted}`;
    }
    case 'too_small':
      return `has too few items; at least ${String(issue.minimum)}`;
    case 'too_big':
      return `has too many items; at most ${String(issue.maximum)}`;
    default:
      return issue.message;
  }
}

/** `reclaimPolicy` was meant as `reclaim_policy`. */
function meant(key: string, fields: readonly string[]): string {
  const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z]/g, '');
  const field = fields.find((name) => plain(name) === plain(key));
  return field === undefined ? '' : ` (did you mean ${field}?)`;
}

function lineOf(tree: Document, lines: LineCounter, path: Path): number {
  const parent: unknown = path.length <= 1 ? tree.contents : tree.getIn(path.slice(0, -1), true);
  const last = path.at(-1);
  if (isMap(parent)) {
    const pair = parent.items.find(({ key }) => isScalar(key) && key.value === last);
    if (pair !== undefined && isScalar(pair.key) && pair.key.range) return lines.linePos(pair.key.range[0]).line;
  }
  const node: unknown = tree.getIn(path, true);
  if (isScalar(node) && node.range) return lines.linePos(node.range[0]).line;
  return 0;
}

function shownPath(path: Path): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${String(step)}]` : index === 0 ? step : `.${step}`))
    .join('');
}

function describe(found: unknown): string {
  if (found === null || found === undefined) return 'nothing';
  if (Array.isArray(found)) return 'a list';
  if (typeof found === 'object') return 'a map';
  const shown = JSON.stringify(found);
  return shown.length > 80 ? `${shown.slice(0, 80)}...` : shown;
}

function textsOf(given: object): Record<string, string> {
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)]));
}

function documentError(fileName: string, problems: readonly DocumentProblem[]): ModelError {
  const listed = problems.map(({ path, line, text: problem }) => {
    const where = `${fileName}${line > 0 ? `:${String(line)}` : ''}: `;
    return `${where}${path === '' ? '' : `${path}: `}${problem}`;
  });
  return new ModelError(listed.join('\n'), { code: 'DOCUMENT', fileName, problems });
}

/** Reading what users write in JSON or YAML: every problem of a document at once, each with its place. */
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { messageOf } from '../base/errors.js';
import { isTooDeep } from './document-depth.js';
import { CLASS_DOCUMENT_BYTES_MAX, CLASS_DOCUMENT_DEPTH_MAX, CLASS_DOCUMENT_PROBLEMS_MAX } from './limits.js';
import { ModelError, type DocumentProblem } from './model-error.js';
import { problemOf } from './volume-name.js';

type Path = readonly (string | number)[];

/** What kind of document it is. */
export interface DocumentKind<T> {
  /** `a storage class`. */
  readonly what: string;
  readonly schema: z.ZodType<T>;
  /** Fields that are allowed, by the field that they are in ('' for the document itself). */
  readonly fields: Readonly<Record<string, readonly string[]>>;
  /** What is wrong though each field by itself is right. */
  readonly problems: (data: T) => readonly { readonly path: Path; readonly text: string }[];
}

/**
 * `fileName` is for messages; JSON is told from YAML by its first character. Answers what the schema made of it, and the
 * document as it stands there. Throws ModelError DOCUMENT that lists every problem at once.
 */
export function readDocument<T>(
  document: string,
  fileName: string,
  kind: DocumentKind<T>,
): { readonly data: T; readonly value: object } {
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
    throw documentError(fileName, [{ path: '', line: 0, text: `${kind.what} is a map of fields; found ${found}` }]);
  }
  const result = kind.schema.safeParse(value);
  if (!result.success) {
    const problems = result.error.issues.flatMap((issue) => problemsOf(issue, value, tree, lines, kind.fields));
    throw documentError(fileName, problems);
  }
  const problems = kind
    .problems(result.data)
    .map(({ path, text }) => ({ path: shownPath(path), line: lineOf(tree, lines, path), text }));
  if (problems.length > 0) throw documentError(fileName, problems);
  return { data: result.data, value };
}

/** A value out of a closed list, typed or as text, in any case. */
export function oneOf<T extends string | number | boolean>(allowed: Readonly<Record<string, T>>): z.ZodType<T> {
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

/** The name that a document gives to what it describes. */
export function documentName(lengthMax: number): z.ZodType<string> {
  return z.string().superRefine((name, context) => {
    const problem = problemOf(name, lengthMax);
    if (problem !== '') context.addIssue({ code: 'custom', message: problem });
  });
}

/** A text that a pattern lets through; `rule` says in words what that is. */
export function text(pattern: RegExp, lengthMax: number, rule: string): z.ZodType<string> {
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

function problemsOf(
  issue: z.core.$ZodIssue,
  value: object,
  tree: Document,
  lines: LineCounter,
  allowed: DocumentKind<unknown>['fields'],
): DocumentProblem[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code === 'unrecognized_keys') {
    const fields = allowed[String(path[0] ?? '')] ?? [];
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

/** What was found, for messages. */
export function describe(found: unknown): string {
  if (found === null || found === undefined) return 'nothing';
  if (Array.isArray(found)) return 'a list';
  if (typeof found === 'object') return 'a map';
  const shown = JSON.stringify(found);
  return shown.length > 80 ? `${shown.slice(0, 80)}...` : shown;
}

/** The values of a map as text, as the user gave them. */
export function textsOf(given: object): Record<string, string> {
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, String(value)]));
}

function documentError(fileName: string, problems: readonly DocumentProblem[]): ModelError {
  const listed = problems.map(({ path, line, text: problem }) => {
    const where = `${fileName}${line > 0 ? `:${String(line)}` : ''}: `;
    return `${where}${path === '' ? '' : `${path}: `}${problem}`;
  });
  return new ModelError(listed.join('\n'), { code: 'DOCUMENT', fileName, problems });
}

/**
 * The configuration file: TOML with one table per section and plain values in it. The parser says nothing about where a
 * value stands, so the lines are found beside it; a file written in a way that this does not see (a dotted key inside
 * an inline table, say) is read all the same, only without line numbers.
 */
import { parse, TomlError } from 'smol-toml';
import { messageOf } from '../base/errors.js';
import { DaemonError } from './daemon-error.js';
import { SETTINGS, type SettingKind } from './setting-table.js';

/** One value of the file, as text, with where it stands. */
export interface FileValue {
  readonly text: string;
  /** `galleon.toml:7`, or the file alone. */
  readonly origin: string;
}

/** Values by `section.key`. Throws DaemonError CONFIG that names file, line and reason, for the first thing wrong. */
export function readConfigFile(text: string, fileName: string): Map<string, FileValue> {
  const tree = parseToml(text, fileName);
  const lines = linesOf(text);
  const values = new Map<string, FileValue>();
  const originOf = (key: string): string => {
    const line = lines.get(key);
    return line === undefined ? fileName : `${fileName}:${line}`;
  };
  for (const [section, table] of Object.entries(tree)) {
    if (!isTable(table)) {
      throw configError(
        `${originOf(section)}: "${section}" stands outside of a section; the sections are ${sections().join(', ')}`,
      );
    }
    if (!sections().includes(section)) {
      throw configError(`${originOf(section)}: unknown section [${section}]; there are ${sections().join(', ')}`);
    }
    for (const [name, value] of Object.entries(table)) {
      const key = `${section}.${name}`;
      const setting = SETTINGS.find((one) => one.key === key);
      if (setting === undefined) throw configError(`${originOf(key)}: unknown key ${key}; ${knownKeys(section, name)}`);
      values.set(key, { text: textOf(value, setting.kind, key, originOf(key)), origin: originOf(key) });
    }
  }
  return values;
}

/** `message` names the place (flag, variable, or file and line) and the reason. */
export function configError(message: string): DaemonError {
  return new DaemonError(message, { code: 'CONFIG' });
}

function parseToml(text: string, fileName: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (thrown) {
    if (!(thrown instanceof TomlError)) throw thrown;
    // The rest of its message is a drawing of the place.
    const reason = (messageOf(thrown).split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '');
    throw configError(`${fileName}:${thrown.line}: this is not TOML: ${reason}`);
  }
}

/** Lines of sections and keys, from 1, in a file whose tables have headers and whose keys begin a line. */
function linesOf(text: string): Map<string, number> {
  const lines = new Map<string, number>();
  let section = '';
  text.split(/\r?\n/).forEach((line, index) => {
    const header = /^\s*\[\s*([A-Za-z0-9_-]+)\s*\]\s*(?:#.*)?$/.exec(line);
    const key = /^\s*([A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?)\s*=/.exec(line);
    if (header?.[1] !== undefined) section = header[1];
    const found = header?.[1] ?? (section === '' ? key?.[1] : `${section}.${key?.[1] ?? ''}`);
    if ((header ?? key) !== null && found !== undefined && !lines.has(found)) lines.set(found, index + 1);
  });
  return lines;
}

function textOf(value: unknown, kind: SettingKind, key: string, origin: string): string {
  if (kind === 'boolean') {
    if (typeof value === 'boolean') return String(value);
    throw configError(`${origin}: ${key} is true or false, without quotes`);
  }
  if (kind === 'list') {
    if (Array.isArray(value) && value.every((item) => typeof item === 'string' && !item.includes(',')))
      return value.join(',');
    if (typeof value === 'string') return value;
    throw configError(`${origin}: ${key} is a list of texts, such as ["a", "b"], and they hold no commas`);
  }
  if (typeof value === 'string') return value;
  // A size in plain bytes may be written as a number.
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  throw configError(`${origin}: ${key} is a text in quotes`);
}

function isTable(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date);
}

function sections(): string[] {
  return [...new Set(SETTINGS.map(({ key }) => key.split('.')[0] ?? ''))];
}

/** The key itself may stand in another section: that is the likeliest slip. */
function knownKeys(section: string, name: string): string {
  const elsewhere = SETTINGS.find(({ key }) => key.endsWith(`.${name}`));
  if (elsewhere !== undefined) return `did you mean ${elsewhere.key}?`;
  const keys = SETTINGS.filter(({ key }) => key.startsWith(`${section}.`)).map(({ key }) =>
    key.slice(section.length + 1),
  );
  return `section [${section}] has ${keys.join(', ')}`;
}

/** What people write as the values of options, read. */
import { usageError } from './cli-error.js';

/** A whole number that the user wrote for `option`. */
export function parseCount(option: string, text: string, least: number): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
  if (count >= least) return count;
  throw usageError(`${option} takes a whole number from ${String(least)}, not "${text}"`);
}

/** `key=value` pairs that the user wrote for `option`. */
export function parseLabels(option: string, pairs: readonly string[]): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals < 1) throw usageError(`${option} takes KEY=VALUE, not "${pair}"`);
    addLabel(labels, pair.slice(0, equals), pair.slice(equals + 1));
  }
  return labels;
}

/** Throws USAGE for a key that is there already, or that no label has (`__proto__` would vanish without a word). */
export function addLabel(labels: Record<string, string>, key: string, value: string): void {
  if (!/^[A-Za-z0-9]/.test(key)) throw usageError(`label "${key}" does not begin with a letter or a digit`);
  if (Object.hasOwn(labels, key)) throw usageError(`label "${key}" is given twice`);
  labels[key] = value;
}

/**
 * Labels and selectors. Bounds follow Kubernetes (labels and selectors, "Syntax and character set"): a key is a name of
 * 1 to 63 characters, or a DNS prefix of at most 253, a slash and a name; a value has 0 to 63 characters.
 */
import { LABEL_NAME_LENGTH_MAX, LABEL_PREFIX_LENGTH_MAX, LABEL_VALUE_LENGTH_MAX, LABELS_MAX } from './limits.js';
import { ModelError } from './model-error.js';

export type Labels = Readonly<Record<string, string>>;

const NAME_PATTERN = /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const PREFIX_PATTERN = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;
const NAME_RULE = 'letters, digits, "-", "_" and ".", with a letter or digit at both ends';

/** Throws ModelError LABEL that says whether the key or the value is wrong, and how. */
function checkLabel(key: string, value: string): void {
  checkLabelKey(key);
  if (value.length > LABEL_VALUE_LENGTH_MAX) {
    throw labelError(
      key,
      `the value of label "${key}" has ${String(value.length)} characters: at most ${String(LABEL_VALUE_LENGTH_MAX)}`,
    );
  }
  if (value !== '' && !NAME_PATTERN.test(value)) {
    throw labelError(key, `the value ${JSON.stringify(value)} of label "${key}" is not allowed: ${NAME_RULE}`);
  }
}

/** Checks every label and their number. Throws ModelError LABEL. */
export function checkLabels(labels: Labels): void {
  const entries = Object.entries(labels);
  if (entries.length > LABELS_MAX) {
    throw labelError('', `${String(entries.length)} labels are too many: at most ${String(LABELS_MAX)}`);
  }
  for (const [key, value] of entries) checkLabel(key, value);
}

/** Whether every label of `selector` is there with its value. */
export function matchesSelector(labels: Labels, selector: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
}

/** Throws ModelError LABEL. Also for keys of labels that are to be removed. */
export function checkLabelKey(key: string): void {
  const slash = key.indexOf('/');
  const prefix = slash < 0 ? null : key.slice(0, slash);
  const name = key.slice(slash + 1);
  if (name === '') throw labelError(key, `label key ${JSON.stringify(key)} has no name`);
  if (name.length > LABEL_NAME_LENGTH_MAX) {
    throw labelError(
      key,
      `label key "${key.slice(0, 80)}" has a name of ${String(name.length)} characters: at most ${String(LABEL_NAME_LENGTH_MAX)}`,
    );
  }
  if (!NAME_PATTERN.test(name)) throw labelError(key, `label key ${JSON.stringify(key)} is not allowed: ${NAME_RULE}`);
  if (prefix !== null && (prefix.length > LABEL_PREFIX_LENGTH_MAX || !PREFIX_PATTERN.test(prefix))) {
    throw labelError(key, `the prefix of label key ${JSON.stringify(key.slice(0, 80))} is not a DNS name`);
  }
}

function labelError(label: string, message: string): ModelError {
  return new ModelError(message, { code: 'LABEL', label });
}

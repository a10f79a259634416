import { VOLUME_NAME_LENGTH_MAX } from './limits.js';
import { ModelError } from './model-error.js';

/** Names travel as NBD export names, device labels and folder names; these characters are safe in all of them. */
const ALLOWED = /^[a-z0-9._-]$/;

/** Returns the name, or throws ModelError NAME that says which character is wrong. */
export function checkVolumeName(name: string): string {
  const problem = problemOf(name, VOLUME_NAME_LENGTH_MAX);
  if (problem !== '') throw new ModelError(`volume name ${problem}`, { code: 'NAME', name });
  return name;
}

/** '' when the name is fine, or what is wrong with it, to stand behind "name". */
export function problemOf(name: string, lengthMax: number): string {
  if (name === '') return `is empty: it has 1 to ${String(lengthMax)} characters of a-z, 0-9, "-", "_" and "."`;
  if (name === '.' || name === '..') return `"${name}" is reserved for folders`;
  let position = 0;
  for (const character of name) {
    position++;
    if (ALLOWED.test(character)) continue;
    const lower = character.toLowerCase();
    const hint = lower !== character && ALLOWED.test(lower) ? ` (write "${lower}")` : '';
    const shown = JSON.stringify(character);
    return `${JSON.stringify(cut(name))} has ${shown} at position ${String(position)}${hint}: allowed are a-z, 0-9, "-", "_" and "."`;
  }
  if (name.length > lengthMax)
    return `"${cut(name)}" has ${String(name.length)} characters: at most ${String(lengthMax)}`;
  return '';
}

function cut(name: string): string {
  return name.length > 80 ? `${name.slice(0, 80)}...` : name;
}

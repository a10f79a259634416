/**
 * Sizes as people write them. Every unit is a power of 1024, however it is spelt: `G`, `Gi`, `GB` and `GiB` are the
 * same, in any case, because block devices are counted so and half a dozen tools read `10G` that way (zfs, qemu-img,
 * lvm by default). What we print says `GiB`, so that nobody has to guess.
 */
import { assert } from './assert.js';
import { UnitError } from './unit-error.js';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P', 'E'] as const;
const SIZE_PATTERN = /^(\d{1,20})(?:\.(\d{1,30}))?\s?(?:([KMGTPE])(?:I?B|I)?|B)?$/i;
const SIZE_HELP = 'a size is a number with an optional K, M, G, T or P (powers of 1024), such as 512M, 1.5T or 1048576';

/** Bytes. Fractions are exact: `1.5T` is 1649267441664, and `0.3K` is refused, being no whole number of bytes. */
export function parseSize(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '') throw sizeError(text, `no size given: ${SIZE_HELP}`);
  if (trimmed.startsWith('-')) throw sizeError(text, `size "${trimmed}" is negative: ${SIZE_HELP}`);
  const match = SIZE_PATTERN.exec(trimmed);
  if (match === null) throw sizeError(text, `"${shown(trimmed)}" is not a size: ${SIZE_HELP}`);
  const [, whole = '', fraction = '', letter = ''] = match;
  const power = UNITS.findIndex((unit) => unit === letter.toUpperCase());
  assert(power >= 0, 'the pattern lets only known units through');

  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * 1024n ** BigInt(power);
  if (scaled % scale !== 0n) {
    const below = scaled / scale;
    throw sizeError(text, `size "${trimmed}" is not a whole number of bytes: the nearest below is ${String(below)}`);
  }
  const bytes = scaled / scale;
  if (bytes > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw sizeError(text, `size "${trimmed}" is larger than anything that can be stored (at most 8P)`);
  }
  return Number(bytes);
}

/** Bytes a second: a size, with or without `/s` behind it. */
export function parseThroughput(text: string): number {
  return parseSize(text.trim().replace(/\/s$/i, ''));
}

/** `1.5 GiB`, `512 B`: at most two decimals, rounded to the nearest. `parseSize` reads it back. */
export function formatSize(bytes: number): string {
  assert(Number.isSafeInteger(bytes) && bytes >= 0, 'a size is a whole number of bytes');
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1024 ** (power + 1)) power++;
  if (power === 0) return `${String(bytes)} B`;
  let hundredths = Math.round((bytes / 1024 ** power) * 100);
  // 1048575 bytes would round to "1024 KiB".
  if (hundredths >= 102_400 && power < UNITS.length - 1) {
    power++;
    hundredths = 100;
  }
  return `${String(hundredths / 100)} ${UNITS[power] ?? ''}iB`;
}

function sizeError(text: string, message: string): UnitError {
  return new UnitError(message, { code: 'SIZE', text });
}

function shown(text: string): string {
  return text.length > 64 ? `${text.slice(0, 64)}...` : text;
}

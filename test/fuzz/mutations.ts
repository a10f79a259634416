import fc from 'fast-check';
import type { SeededRandom } from '../base/seeded-random.js';

/** One change of a byte string. Places are taken modulo its length, so that an edit fits every input. */
export type Edit =
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'set'; readonly at: number; readonly value: number }
  | { readonly kind: 'cut'; readonly at: number; readonly count: number }
  | { readonly kind: 'truncate'; readonly at: number }
  | { readonly kind: 'repeat'; readonly at: number; readonly count: number }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  /** A number where a length, count or offset may stand. */
  | { readonly kind: 'number'; readonly at: number; readonly width: Width; readonly little: boolean; value: bigint }
  /** The end of another input behind the beginning of this one. */
  | { readonly kind: 'splice'; readonly at: number; readonly other: Uint8Array; readonly from: number };

type Width = 1 | 2 | 4 | 8;

const WIDTHS: readonly Width[] = [1, 2, 4, 8];
/** Edges of the types and limits that decoders have; each also one less and one more. */
const EDGES: readonly bigint[] = [
  ...[0n, 1n, 4n, 16n, 28n, 127n, 128n, 255n, 512n, 4096n, 16_384n, 32_767n, 65_535n, 65_536n],
  ...[1n << 20n, 1n << 25n, 1n << 31n, (1n << 32n) - 1n, 1n << 51n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n],
];
const NUMBERS = EDGES.flatMap((edge) => [edge - 1n, edge, edge + 1n]).filter((value) => value >= 0n);
const PLACES = 2 ** 30;

export function applyEdit(input: Uint8Array, edit: Edit): Uint8Array {
  const length = input.length;
  const at = length === 0 ? 0 : edit.at % length;
  switch (edit.kind) {
    case 'flip':
      return changed(input, (bytes) => (bytes[at] ^= 1 << edit.bit));
    case 'set':
      return changed(input, (bytes) => (bytes[at] = edit.value));
    case 'cut':
      return Buffer.concat([input.subarray(0, at), input.subarray(at + edit.count)]);
    case 'truncate':
      return input.slice(0, at);
    case 'repeat':
      return Buffer.concat([input.subarray(0, at), input.subarray(at, at + edit.count), input.subarray(at)]);
    case 'insert':
      return Buffer.concat([input.subarray(0, at), edit.bytes, input.subarray(at)]);
    case 'number':
      return changed(input, (bytes) => {
        for (let n = 0; n < edit.width && at + n < length; n += 1) {
          const shift = BigInt(8 * (edit.little ? n : edit.width - 1 - n));
          bytes[at + n] = Number((edit.value >> shift) & 0xffn);
        }
      });
    case 'splice':
      return Buffer.concat([
        input.subarray(0, at),
        edit.other.subarray(edit.other.length === 0 ? 0 : edit.from % edit.other.length),
      ]);
  }
}

export function applyEdits(input: Uint8Array, edits: readonly Edit[]): Uint8Array {
  // Not a Buffer, whose slices are views and which no array of the same bytes equals.
  return Uint8Array.from(edits.reduce(applyEdit, input));
}

const place = fc.nat(PLACES);

/** `others`: inputs whose ends may follow the beginning of this one. */
function edits(others: readonly Uint8Array[]): fc.Arbitrary<Edit> {
  const kinds: fc.Arbitrary<Edit>[] = [
    fc.record({ kind: fc.constant('flip' as const), at: place, bit: fc.nat(7) }),
    fc.record({ kind: fc.constant('set' as const), at: place, value: fc.nat(255) }),
    fc.record({ kind: fc.constant('cut' as const), at: place, count: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ kind: fc.constant('truncate' as const), at: place }),
    fc.record({ kind: fc.constant('repeat' as const), at: place, count: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant('insert' as const), at: place, bytes: fc.uint8Array({ minLength: 1 }) }),
    fc.record({
      kind: fc.constant('number' as const),
      at: place,
      width: fc.constantFrom(...WIDTHS),
      little: fc.boolean(),
      value: fc.constantFrom(...NUMBERS),
    }),
  ];
  if (others.length > 0) {
    const splice = { kind: fc.constant('splice' as const), at: place, other: fc.constantFrom(...others), from: place };
    kinds.push(fc.record(splice));
  }
  return fc.oneof(...kinds);
}

/** A valid input and what became of it: as it is in a tenth of the cases, otherwise after one to five edits. */
export function mutated<T>(
  valid: fc.Arbitrary<T>,
  encode: (value: T) => Uint8Array,
  others: readonly Uint8Array[] = [],
): fc.Arbitrary<{ readonly value: T; readonly bytes: Uint8Array; readonly original: Uint8Array }> {
  const changes = fc.oneof(
    { weight: 1, arbitrary: fc.constant<Edit[]>([]) },
    { weight: 9, arbitrary: fc.array(edits(others), { minLength: 1, maxLength: 5 }) },
  );
  return fc.tuple(valid, changes).map(([value, list]) => {
    const original = encode(value);
    return { value, original, bytes: applyEdits(original, list) };
  });
}

/** The same of a text; bytes that are no UTF-8 become replacement characters, as in a file that is read as text. */
export function mutatedText(valid: fc.Arbitrary<string>, others: readonly string[] = []): fc.Arbitrary<string> {
  const encoder = new TextEncoder();
  return mutated(
    valid,
    (text) => encoder.encode(text),
    others.map((text) => encoder.encode(text)),
  ).map(({ bytes }) => new TextDecoder().decode(bytes));
}

/** One edit for the session fuzzer, which draws by itself. */
export function drawEdit(dice: SeededRandom, others: readonly Uint8Array[]): Edit {
  const at = dice.below(PLACES);
  switch (dice.below(8)) {
    case 0:
      return { kind: 'flip', at, bit: dice.below(8) };
    case 1:
      return { kind: 'set', at, value: dice.below(256) };
    case 2:
      return { kind: 'cut', at, count: 1 + dice.below(64) };
    case 3:
      return { kind: 'truncate', at };
    case 4:
      return { kind: 'repeat', at, count: 1 + dice.below(400) };
    case 5:
      return { kind: 'insert', at, bytes: dice.bytes(1 + dice.below(64)) };
    case 6: {
      const value = NUMBERS[dice.below(NUMBERS.length)] ?? 0n;
      return { kind: 'number', at, width: WIDTHS[dice.below(4)] ?? 4, little: dice.below(8) === 0, value };
    }
    default:
      return {
        kind: 'splice',
        at,
        other: others[dice.below(others.length)] ?? new Uint8Array(0),
        from: dice.below(PLACES),
      };
  }
}

function changed(input: Uint8Array, change: (bytes: Uint8Array) => void): Uint8Array {
  const bytes = Uint8Array.from(input);
  if (bytes.length > 0) change(bytes);
  return bytes;
}

import { describe, expect, it } from 'vitest';
import { BackupError } from '../../src/backup/backup-error.js';
import { type StreamItem, StreamDecoder } from '../../src/backup/stream-decoder.js';
import { StreamEncoder } from '../../src/backup/stream-encoder.js';
import { FRAME_HEADER_BYTES, HEAD_BYTES, type StreamBegin } from '../../src/backup/stream-format.js';
import { crc32c } from '../../src/base/crc32c.js';
import { SeededRandom } from '../base/seeded-random.js';

const checksum = (bytes: Uint8Array, offset: number, length: number, seed: number): number =>
  crc32c(bytes.subarray(offset, offset + length), seed);

const BEGIN: StreamBegin = {
  mode: 'plain',
  volume: { id: '0f8fad5b-d9cb-469f-a165-70867728950e', name: 'web' },
  snapshot: { id: '1f8fad5b-d9cb-469f-a165-70867728950e', name: 'monday', createdAtMs: 5 },
  from: null,
  sizeBytes: 1024 * 1024,
  blockBytes: 4096,
  encrypted: true,
};

const SEALED: StreamBegin = {
  ...BEGIN,
  mode: 'sealed',
  nodeId: '2f8fad5b-d9cb-469f-a165-70867728950e',
  masterKeyId: '0123456789abcdef0123456789abcdef',
  keys: [{ number: 3, record: 'YWJj' }],
};
const MAC = 'ab'.repeat(32);

/** The sealed twin of `sample`. `told`: gets the digest that its end proves. */
function sealedSample(told: (digest: Uint8Array) => void = () => undefined): Buffer[] {
  const encoder = new StreamEncoder(checksum);
  return [
    encoder.begin(SEALED),
    encoder.sealed(0, 8192, new Uint8Array(2 * 4160).fill(1)),
    encoder.zero(8192, 4096),
    encoder.sealed(65_536, 4096, new Uint8Array(4160).fill(2)),
    encoder.end((digest) => {
      told(digest);
      return MAC;
    }),
  ];
}

const samples = [
  ['plain', () => sample()],
  ['sealed', () => sealedSample()],
] as const;

function sample(): Buffer[] {
  const encoder = new StreamEncoder(checksum);
  return [
    encoder.begin(BEGIN),
    encoder.data(0, new Uint8Array(8192).fill(1)),
    encoder.zero(8192, 4096),
    encoder.data(65_536, new Uint8Array(4096).fill(2)),
    encoder.end(),
  ];
}

function decode(bytes: Uint8Array, pieceBytes = bytes.length || 1): StreamItem[] {
  const decoder = new StreamDecoder(checksum);
  const items: StreamItem[] = [];
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    for (const item of decoder.push(bytes.subarray(at, at + pieceBytes))) items.push(item);
  }
  decoder.finish();
  return items;
}

function codeOf(work: () => unknown): string {
  try {
    work();
    return 'fine';
  } catch (thrown) {
    if (thrown instanceof BackupError) return thrown.code;
    throw thrown;
  }
}

describe('a stream', () => {
  it.each([1, 7, 36, 4096, 1_000_000])('says what was put in, in pieces of %i bytes', (pieceBytes) => {
    const items = decode(Buffer.concat(sample()), pieceBytes);
    expect(items.map(({ kind }) => kind)).toEqual(['begin', 'data', 'zero', 'data', 'end']);
    expect(items[0]).toEqual({ kind: 'begin', begin: BEGIN });
    expect(items[1]).toMatchObject({ offsetBytes: 0 });
    expect(items[2]).toEqual({ kind: 'zero', offsetBytes: 8192, lengthBytes: 4096 });
    expect(items[3].kind === 'data' && items[3].data.every((byte) => byte === 2)).toBe(true);
  });

  it.each([1, 36, 4096, 1_000_000])('of sealed blocks says what was put in, in pieces of %i bytes', (pieceBytes) => {
    let proven: Uint8Array | null = null;
    const bytes = sealedSample((digest) => (proven = digest));
    const items = decode(Buffer.concat(bytes), pieceBytes);
    expect(items.map(({ kind }) => kind)).toEqual(['begin', 'sealed', 'zero', 'sealed', 'end']);
    expect(items[0]).toEqual({ kind: 'begin', begin: SEALED });
    expect(items[3]).toMatchObject({ offsetBytes: 65_536, lengthBytes: 4096 });
    expect(items[3].kind === 'sealed' && items[3].data.every((byte) => byte === 2)).toBe(true);
    expect(items[4]).toEqual({ kind: 'end', proof: { digest: proven, mac: MAC } });
  });

  it('of sealed blocks has a digest of its frames and of the headers of its blocks', () => {
    const digests = new Set<string>();
    const digestOf = (change: (blocks: Uint8Array) => void, offsetBytes = 0, zeroBytes = 4096): void => {
      const encoder = new StreamEncoder(checksum);
      const blocks = new Uint8Array(2 * 4160);
      change(blocks);
      encoder.begin(SEALED);
      encoder.sealed(offsetBytes, 8192, blocks);
      encoder.zero(65_536, zeroBytes);
      encoder.end((digest) => {
        digests.add(Buffer.from(digest).toString('hex'));
        return MAC;
      });
    };
    digestOf(() => undefined);
    digestOf(() => undefined);
    expect(digests.size).toBe(1);
    digestOf((blocks) => (blocks[20] = 1));
    digestOf((blocks) => (blocks[4160 + 63] = 1));
    digestOf(() => undefined, 4096);
    digestOf(() => undefined, 0, 8192);
    expect(digests.size).toBe(5);
  });

  it('is of one kind: plain data, or sealed blocks with a proof', () => {
    const [begin, first, , , end] = sample();
    const [sealedBegin, sealedFirst, , , sealedEnd] = sealedSample();
    expect(codeOf(() => decode(Buffer.concat([begin, sealedFirst])))).toBe('CORRUPT');
    expect(codeOf(() => decode(Buffer.concat([sealedBegin, first])))).toBe('CORRUPT');
    expect(codeOf(() => decode(Buffer.concat([...sample().slice(0, 4), sealedEnd])))).toBe('CORRUPT');
    expect(codeOf(() => decode(Buffer.concat([...sealedSample().slice(0, 4), end])))).toBe('CORRUPT');
  });

  it.each(samples)('%s is noticed to be cut at every byte', (_, made) => {
    const whole = Buffer.concat(made());
    for (let length = 0; length < whole.length; length += length < 600 ? 1 : 97) {
      expect(codeOf(() => decode(whole.subarray(0, length)))).toBe('CUT');
    }
  });

  it.each(samples)('%s is noticed to be damaged at every byte', (_, made) => {
    const whole = Buffer.concat(made());
    const random = new SeededRandom(7);
    for (let at = 0; at < whole.length; at += at < 600 ? 1 : 61) {
      const damaged = Buffer.from(whole);
      damaged[at] ^= 1 << (random.bytes(1)[0] & 7);
      const code = codeOf(() => decode(damaged));
      expect(['CORRUPT', 'NOT_A_STREAM'], `byte ${at}`).toContain(code);
    }
  });

  it('is noticed to lack a piece, or to have two in another order', () => {
    const [begin, first, zero, last, end] = sample();
    expect(codeOf(() => decode(Buffer.concat([begin, first, last, end])))).toBe('CORRUPT');
    expect(codeOf(() => decode(Buffer.concat([begin, zero, first, last, end])))).toBe('CORRUPT');
    expect(codeOf(() => decode(Buffer.concat([begin, first, zero, last])))).toBe('CUT');
    expect(codeOf(() => decode(Buffer.concat([begin, first, zero, last, end, end])))).toBe('CORRUPT');
  });

  it('of another program or a newer version is refused for what it is', () => {
    expect(codeOf(() => decode(Buffer.from('QFI\xfb and something more', 'latin1')))).toBe('NOT_A_STREAM');
    const whole = Buffer.concat(sample());
    whole.writeUInt32LE(2, 8);
    whole.writeUInt32LE(checksum(whole, 0, 12, 0), 12);
    expect(codeOf(() => decode(whole))).toBe('VERSION');
  });

  it('may not name ranges outside its volume, whatever its checksums say', () => {
    const encoder = new StreamEncoder(checksum);
    const bytes = [encoder.begin(BEGIN), encoder.zero(BEGIN.sizeBytes, 4096), encoder.end()];
    expect(codeOf(() => decode(Buffer.concat(bytes)))).toBe('CORRUPT');
  });

  it('may not announce a payload that nobody would hold in memory', () => {
    const whole = Buffer.concat(sample());
    whole.writeUInt32LE(0x7fff_ffff, HEAD_BYTES + 24);
    whole.writeUInt32LE(checksum(whole, HEAD_BYTES, 32, 0), HEAD_BYTES + 32);
    expect(codeOf(() => decode(whole.subarray(0, HEAD_BYTES + FRAME_HEADER_BYTES)))).toBe('CORRUPT');
  });
});

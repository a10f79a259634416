import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import { DeviceStatistics } from '../../src/device/device-statistics.js';
import * as messages from '../../src/ipc/generated/control.js';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  decodeString,
} from '../../src/nbd/handshake-codec.js';
import { Negotiation, type TlsMode } from '../../src/nbd/handshake.js';
import { DEFAULT_NBD_LIMITS } from '../../src/nbd/limits.js';
import { decodeRequest, type RequestHeader } from '../../src/nbd/transmission-codec.js';
import { validateRequest, type Agreement } from '../../src/nbd/transmission-validate.js';
import { infoData, metaData, option, request, u32 } from '../nbd/wire-client.js';
import { corpusOf } from './corpus.js';
import { FUZZ_TIMEOUT_MS, check, replayedWith } from './fuzzing.js';
import { mutated } from './mutations.js';

const same = (left: Uint8Array, right: Uint8Array): boolean => Buffer.compare(left, right) === 0;
const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes);
const name = fc.oneof(fc.constantFrom('', 'v', 'vol', 'nobody'), fc.string({ unit: 'grapheme', maxLength: 20 }));
const u32s = fc.nat(0xffff_ffff);

describe(`NBD options (${replayedWith})`, () => {
  const info = fc.tuple(name, fc.array(fc.nat(0xffff), { maxLength: 5 }));
  const meta = fc.tuple(name, fc.array(fc.oneof(fc.constant('base:allocation'), fc.string()), { maxLength: 4 }));

  it('INFO and GO: what is decoded encodes to the same bytes, and the rest is refused', () => {
    check(
      fc.property(
        mutated(info, ([of, wanted]) => infoData(of, wanted)),
        ({ value: [of, information], original, bytes }) => {
          const decoded = decodeInfoRequest(asBuffer(bytes));
          if (decoded !== null) expect(same(infoData(decoded.name, [...decoded.information]), bytes)).toBe(true);
          if (same(bytes, original) && !of.includes('\0')) expect(decoded).toEqual({ name: of, information });
        },
      ),
      800,
    );
  });

  it('meta contexts: what is decoded encodes to the same bytes, and the rest is refused', () => {
    check(
      fc.property(
        mutated(meta, ([of, queries]) => metaData(of, queries)),
        ({ original, bytes }) => {
          const decoded = decodeMetaContextRequest(asBuffer(bytes));
          if (decoded !== null) expect(same(metaData(decoded.name, [...decoded.queries]), bytes)).toBe(true);
          if (same(bytes, original) && !original.includes(0xff))
            expect(decodeMetaContextRequest(asBuffer(original))).toEqual(decoded);
        },
      ),
      800,
    );
  });

  it('headers and strings: what is decoded encodes to the same bytes', () => {
    const header = fc.tuple(u32s, fc.uint8Array({ maxLength: 40 }));
    check(
      fc.property(
        mutated(header, ([number, data]) => option(number, asBuffer(data))),
        ({ bytes }) => {
          if (bytes.length < 16) return;
          const decoded = decodeOptionHeader(asBuffer(bytes));
          const encoded = Buffer.concat([
            Buffer.from('IHAVEOPT'),
            u32(decoded?.option ?? 0),
            u32(decoded?.lengthBytes ?? 0),
          ]);
          expect(decoded !== null).toBe(same(bytes.subarray(0, 8), Buffer.from('IHAVEOPT')));
          if (decoded !== null) expect(same(encoded, bytes.subarray(0, 16))).toBe(true);
          const text = decodeString(asBuffer(bytes.subarray(16)));
          if (text !== null) expect(same(Buffer.from(text), bytes.subarray(16))).toBe(true);
        },
      ),
      800,
    );
  });

  // A getter whose answer changes: asked twice, the compiler would believe the first.
  const outcomeOf = (negotiation: Negotiation): Negotiation['outcome'] => negotiation.outcome;

  interface Heard {
    readonly replies: Buffer;
    readonly outcome: string;
    readonly held: number;
  }

  /** What a negotiation says to these bytes when they come in these pieces. */
  function negotiate(bytes: Uint8Array, pieces: readonly number[], tls: TlsMode): Heard {
    const device = new MemoryDevice({ sizeBytes: 1 << 20 });
    const said: Buffer[] = [];
    let held = 0;
    const negotiation = new Negotiation(
      { limits: { ...DEFAULT_NBD_LIMITS, optionBytesMax: 5000, optionSkipBytesMax: 9000, optionsMax: 20 }, tls },
      {
        send: (each) => void said.push(each),
        list: () => [{ name: 'v', description: 'a volume' }],
        open: (of) => {
          if (of !== 'v') return { code: 'UNKNOWN' };
          held += 1;
          return {
            ...{ volumeId: 'id', device, description: 'a volume', readOnly: false },
            statistics: new DeviceStatistics(),
            closed: () => void (held -= 1),
          };
        },
      },
    );
    negotiation.greet();
    let start = 0;
    for (const end of [...pieces, bytes.length]) {
      const piece = asBuffer(bytes.subarray(start, end));
      for (let at = 0; at < piece.length && negotiation.outcome === null;) {
        const next = negotiation.receive(piece, at);
        expect(next).toBeGreaterThan(at);
        at = next;
        // TLS would stand here now; the bytes go on as if it did.
        if (outcomeOf(negotiation)?.kind === 'upgrade') negotiation.secured();
      }
      start = end;
    }
    const outcome = negotiation.outcome;
    return {
      replies: Buffer.concat(said),
      outcome: outcome === null ? 'goes on' : `${outcome.kind} ${'reason' in outcome ? outcome.reason : ''}`,
      held,
    };
  }

  it('a negotiation says the same however its bytes are cut, and keeps an export only to serve it', () => {
    const asked = fc.oneof(
      fc.constantFrom(1, 2, 3, 5, 8, 42).map((number) => option(number)),
      name.map((of) => option(1, Buffer.from(of))),
      fc.tuple(fc.constantFrom(6, 7), info).map(([number, [of, wanted]]) => option(number, infoData(of, wanted))),
      fc.tuple(fc.constantFrom(9, 10), meta).map(([number, [of, queries]]) => option(number, metaData(of, queries))),
      fc.nat(12_000).map((length) => option(6, Buffer.alloc(length, 0x61))),
    );
    const session = fc.tuple(fc.constantFrom(0, 1, 2, 3, 3, 3), fc.array(asked, { maxLength: 6 }));
    const encode = ([flags, parts]: [number, Buffer[]]): Uint8Array => Buffer.concat([u32(flags), ...parts]);
    const corpus = corpusOf('sessions').map(({ bytes }) => bytes.subarray(0, 400));
    const outcomes = new Set<string>();
    check(
      fc.property(
        mutated(session, encode, corpus),
        fc.array(fc.nat(500), { maxLength: 8 }),
        fc.constantFrom<TlsMode>('none', 'optional', 'required'),
        ({ bytes }, cuts, tls) => {
          const whole = negotiate(bytes, [], tls);
          const pieces = cuts.filter((cut) => cut < bytes.length).sort((left, right) => left - right);
          expect(negotiate(bytes, pieces, tls)).toEqual(whole);
          expect(whole.held).toBe(whole.outcome.startsWith('transmit') ? 1 : 0);
          // Replies are bounded by what was asked: nothing multiplies.
          expect(whole.replies.length).toBeLessThan(200 + 40 * bytes.length);
          outcomes.add(whole.outcome);
        },
      ),
      800,
    );
    expect(outcomes.size).toBeGreaterThan(5);
  });
});

describe(`NBD requests (${replayedWith})`, () => {
  const asked = fc.record({
    type: fc.oneof({ weight: 5, arbitrary: fc.nat(8) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
    flags: fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(0, 0, 1, 2, 4, 8) },
      { weight: 1, arbitrary: fc.nat(0xffff) },
    ),
    cookie: fc.bigInt(0n, 2n ** 64n - 1n),
    offset: fc.oneof(fc.bigInt(0n, 2n ** 19n), fc.bigInt(0n, 2n ** 64n - 1n)),
    length: fc.oneof(fc.nat(70_000), u32s),
  });
  const agreement = fc.record<Agreement>({
    sizeBytes: fc.constantFrom(1 << 20, 2 ** 40),
    readOnly: fc.boolean(),
    structuredReplies: fc.boolean(),
    blockStatus: fc.boolean(),
    payloadBytesMax: fc.constantFrom(65_536, 1 << 25),
  });

  it('decode to what they say, and pass only where the device may have them', () => {
    let passed = 0;
    check(
      fc.property(
        mutated(asked, (of) => request(of)),
        agreement,
        fc.nat(5),
        ({ bytes }, agreed, at) => {
          if (bytes.length < 28) return;
          const moved = Buffer.concat([Buffer.alloc(at, 0xff), bytes]);
          const into: RequestHeader = {
            magic: 0,
            flags: 0,
            type: 0,
            cookieHigh: 0,
            cookieLow: 0,
            offset: 0,
            length: 0,
          };
          decodeRequest(new DataView(moved.buffer, moved.byteOffset, moved.length), at, into);
          const offset = asBuffer(bytes).readBigUInt64BE(16);
          const encoded = request({
            ...{ magic: into.magic, type: into.type, flags: into.flags, length: into.length, offset },
            cookie: (BigInt(into.cookieHigh) << 32n) | BigInt(into.cookieLow),
          });
          expect(same(encoded, bytes.subarray(0, 28))).toBe(true);
          // Exact below 2^53, and never inside a device above it.
          if (offset <= BigInt(Number.MAX_SAFE_INTEGER)) expect(BigInt(into.offset)).toBe(offset);
          else expect(into.offset).toBeGreaterThanOrEqual(Number.MAX_SAFE_INTEGER);
          const errno = validateRequest(into, agreed);
          expect([0, 1, 5, 12, 22, 28, 75, 95, 108]).toContain(errno);
          if (errno !== 0) return;
          passed += 1;
          const changes = [1, 4, 6].includes(into.type);
          expect(agreed.readOnly && changes).toBe(false);
          expect(offset + BigInt(into.length) <= BigInt(agreed.sizeBytes)).toBe(true);
          if (into.type <= 1) expect(into.length).toBeLessThanOrEqual(agreed.payloadBytesMax);
        },
      ),
      1500,
    );
    expect(passed).toBeGreaterThan(10);
  });
});

interface Codec {
  encode(message: never): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
}

/** Every message of the control API, by name: the generated module holds their codecs beside other things. */
const CODECS = Object.entries(messages).filter(
  (entry): entry is [string, Codec & (typeof entry)[1]] =>
    typeof entry[1] === 'object' && 'encode' in entry[1] && 'decode' in entry[1],
) as unknown as [string, Codec][];

describe(`messages of the control API (${replayedWith})`, () => {
  it('are all here', () => {
    expect(CODECS.map(([of]) => of)).toEqual(
      expect.arrayContaining(['CreateVolumeRequest', 'ImportMessage', 'Volume']),
    );
    expect(CODECS.length).toBeGreaterThan(40);
  });

  const field = fc.oneof(
    // A varint, a fixed one, bytes or text, and a message within: as a tag and its content.
    fc
      .tuple(fc.nat(40), fc.bigInt(0n, 2n ** 64n - 1n))
      .map(([n, value]) => [...varint(BigInt(n << 3)), ...varint(value)]),
    fc
      .tuple(fc.nat(40), fc.uint8Array({ minLength: 8, maxLength: 8 }))
      .map(([n, bytes]) => [...varint(BigInt((n << 3) | 1)), ...bytes]),
    fc
      .tuple(fc.nat(40), fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.constant(Uint8Array.of(10, 1, 97, 18, 1, 98))))
      .map(([n, bytes]) => [...varint(BigInt((n << 3) | 2)), ...varint(BigInt(bytes.length)), ...bytes]),
  );
  const encoded = fc.array(field, { maxLength: 8 }).map((parts) => Uint8Array.from(parts.flat()));

  function decodes(codec: Codec, bytes: Uint8Array): boolean {
    let decoded: unknown;
    try {
      decoded = codec.decode(bytes);
    } catch (thrown) {
      // gRPC answers any Error of a decoder with a status. What is our own mistake is none of these.
      if (!(thrown instanceof Error) || thrown instanceof TypeError || thrown instanceof ReferenceError) throw thrown;
      return false;
    }
    const again = codec.encode(decoded as never).finish();
    expect(codec.decode(again)).toEqual(decoded);
    return true;
  }

  it('are decoded or refused with an Error, and encode to the same', () => {
    let decoded = 0;
    check(
      fc.property(
        fc.constantFrom(...CODECS),
        mutated(encoded, (bytes) => bytes),
        ([, codec], { bytes }) => {
          if (decodes(codec, bytes)) decoded += 1;
        },
      ),
      2000,
    );
    expect(decoded).toBeGreaterThan(100);
    for (const { bytes } of corpusOf('control')) for (const [, codec] of CODECS) decodes(codec, bytes);
  });

  it.each([
    ['groups in groups', [0x0b]],
    ['groups in groups of an unknown field', [0xfb, 0x0f]],
    ['endless numbers', [0xff]],
    ['empty texts', [0x0a, 0x00]],
    ['labels without a name', [0x32, 0x00]],
  ])(
    '%s in a long message are decoded or refused',
    (_what, unit) => {
      for (const bytes of [300, 1 << 20]) {
        const message = Buffer.alloc(bytes - (bytes % unit.length), Buffer.from(unit));
        for (const codec of [messages.CreateVolumeRequest, messages.ImportMessage, messages.StopRequest]) {
          decodes(codec, message);
        }
      }
    },
    FUZZ_TIMEOUT_MS,
  );
});

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return [...bytes, Number(rest)];
}

import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory-device.js';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  decodeString,
} from '../../src/nbd/handshake-codec.js';
import { SeededRandom } from '../base/seeded-random.js';
import { NOTHING_HELD, RECEIVE_PATHS, TestServer } from './test-server.js';
import { infoData, metaData, option, request, u32 } from './wire-client.js';

const SEED = 20261;

function number(dice: SeededRandom, below: number): number {
  return Buffer.from(dice.bytes(4)).readUInt32BE(0) % below;
}

/** A valid session in a random order of things, with some of its bytes changed. */
function mutatedSession(dice: SeededRandom): Buffer {
  const parts = [
    u32(3),
    option(8),
    option(10, metaData('v', ['base:allocation'])),
    option(7, infoData('v', [1, 2, 3])),
  ];
  const handshakeBytes = Buffer.concat(parts).length;
  for (let i = number(dice, 12); i >= 0; i -= 1) {
    const type = number(dice, 9);
    const length = number(dice, 100_000);
    const offset = number(dice, 1 << 20);
    if (type === 1) parts.push(request({ type, offset, payload: Buffer.alloc(length, i) }));
    else if (type !== 2) parts.push(request({ type, offset, length, flags: 1 << number(dice, 6) }));
  }
  const bytes = Buffer.concat(parts);
  for (let i = number(dice, 5); i > 0; i -= 1) {
    // Half of the time in the handshake, which is short and would rarely be hit.
    const at = number(dice, i % 2 === 0 ? handshakeBytes : bytes.length);
    bytes[at] = number(dice, 256);
  }
  return bytes;
}

describe.each(RECEIVE_PATHS)('bytes $path', ({ copying }) => {
  it(`200 mutated sessions end, and leave nothing behind (seed ${String(SEED)})`, async () => {
    const server = await TestServer.start({
      exports: { v: { device: new MemoryDevice({ sizeBytes: 1 << 20 }) } },
      copying,
    });
    const dice = new SeededRandom(SEED);
    for (let i = 0; i < 200; i += 1) {
      const client = await server.connect();
      client.send(mutatedSession(dice));
      if (i % 3 === 0) client.destroy();
      else client.end();
      await client.whenClosed;
    }
    await server.server.drain();
    expect(server.server.usage()).toEqual(NOTHING_HELD);
    expect([server.opened - server.closed, server.statistics.inFlight]).toEqual([0, 0]);
    expect(server.count('connected')).toBeGreaterThan(20);
    expect(server.count('handshake')).toBeGreaterThan(20);
  });
});

it('decoders answer to any bytes, and never read past them', () => {
  const dice = new SeededRandom(SEED);
  let decoded = 0;
  for (let i = 0; i < 20_000; i += 1) {
    const valid = [infoData('v', [3]), metaData('vol', ['base:', 'x:']), Buffer.from(dice.bytes(number(dice, 40)))];
    const bytes = valid[number(dice, 3)].subarray(0, i % 5 === 0 ? number(dice, 40) : undefined);
    // Small numbers where lengths and counts are.
    if (bytes.length > 0) bytes[number(dice, bytes.length)] = number(dice, 8);
    const info = decodeInfoRequest(bytes);
    const meta = decodeMetaContextRequest(bytes);
    if (bytes.length >= 16) expect(decodeOptionHeader(bytes)).toBeNull();
    const text = decodeString(bytes);
    if (text !== null) expect(Buffer.from(text).equals(bytes)).toBe(true);
    if (info !== null) expect(infoData(info.name, [...info.information]).equals(bytes)).toBe(true);
    if (meta !== null) expect(metaData(meta.name, [...meta.queries]).equals(bytes)).toBe(true);
    if (info !== null || meta !== null) decoded += 1;
  }
  expect(decoded).toBeGreaterThan(50);
});

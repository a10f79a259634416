import * as net from 'node:net';
import { describe, expect, it } from 'vitest';
import { ManualClock } from '../base/manual-clock.js';
import { comesTrue } from '../base/waiting.js';
import { beset, startBeset } from '../fuzz/beset-server.js';
import { corpusOf } from '../fuzz/corpus.js';
import { play, type HostilePlan } from '../fuzz/hostile-session.js';
import { Witness } from '../fuzz/witness.js';
import { NOTHING_HELD, RECEIVE_PATHS } from './test-server.js';
import { infoData, option, request, u32 } from './wire-client.js';

const SEED = 777;
const AT_ONCE = 16;

const session = (name: string): Uint8Array => corpusOf('sessions').find((each) => each.name === `${name}-1.bin`)!.bytes;

/** Every place where the bytes mean something else, and a few between: payloads are the same all along. */
function places(bytes: Uint8Array): number[] {
  const all = Array.from({ length: bytes.length + 1 }, (_, at) => at);
  const isPayload = (at: number): boolean => at > 8 && bytes.subarray(at - 8, at).every((byte) => byte === bytes[at]);
  return all.filter((at) => !isPayload(at) || at % 509 === 0);
}

describe.each(RECEIVE_PATHS)('a client that leaves in the middle, bytes $path', ({ copying }) => {
  it.each(['wire-structured', 'nbdinfo', 'wire-errors', 'wire-export-name'])(
    'at every byte of %s, with and without a goodbye, disturbs nobody',
    async (name) => {
      const bytes = session(name);
      const plans = places(bytes).flatMap((at) =>
        (['fin', 'reset', 'cut'] as const).map((leaves): HostilePlan => {
          const transport = leaves === 'cut' ? 'unix' : 'tcp';
          // The end of the handshake in a piece of its own, so that bytes can be received in place.
          return {
            bytes: bytes.subarray(0, at),
            pauses: at % 2 === 0 ? [4, at >> 1] : [],
            leaves,
            reads: at % 3 > 0,
            transport,
          };
        }),
      );
      const server = await startBeset(SEED, { copying });
      await beset(server, plans, { witnesses: 1, atOnce: AT_ONCE, play: (plan) => play(plan, server) });
    },
  );
});

describe.each(RECEIVE_PATHS)('a client that stalls, bytes $path', ({ copying }) => {
  const handshake = Buffer.concat([u32(3), option(7, infoData('v'))]);
  /** Where it stops, and whether that is before it has chosen an export. */
  const STALLS: readonly (readonly [string, Buffer, boolean])[] = [
    ['before its flags', Buffer.alloc(0), true],
    ['in its flags', Buffer.alloc(2), true],
    ['in the header of an option', Buffer.concat([u32(3), option(7).subarray(0, 9)]), true],
    ['in the data of an option', Buffer.concat([u32(3), option(7, infoData('v')).subarray(0, 19)]), true],
    [
      'in an option that is skipped',
      Buffer.concat([u32(3), option(7, Buffer.alloc(100_000)).subarray(0, 50_000)]),
      true,
    ],
    ['after its choice', handshake, false],
    ['in the header of a request', Buffer.concat([handshake, request({ type: 1 }).subarray(0, 20)]), false],
    [
      'in a short payload',
      Buffer.concat([handshake, request({ type: 1, payload: Buffer.alloc(5000) }).subarray(0, 2000)]),
      false,
    ],
    [
      'in a long payload',
      Buffer.concat([handshake, request({ type: 1, payload: Buffer.alloc(200_000) }).subarray(0, 150_000)]),
      false,
    ],
    [
      'in a payload that is refused',
      Buffer.concat([handshake, request({ type: 1, offset: 2 ** 40, length: 4_000_000 }), Buffer.alloc(99)]),
      false,
    ],
  ];

  it('anywhere leaves others served, is cut off in its handshake, and holds one buffer after it', async () => {
    const clock = new ManualClock();
    const server = await startBeset(SEED, { copying, clock, limits: { handshakeMsMax: 1000 } });
    const witness = await Witness.start(server, 'witness-0', 0);
    const stalled: net.Socket[] = [];
    const over: Promise<void>[] = [];
    for (const [, bytes, negotiating] of STALLS) {
      const socket = net.connect({ path: server.socketPath });
      stalled.push(socket);
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(bytes);
      if (negotiating) over.push(new Promise((resolve) => socket.on('close', () => resolve())));
    }
    const chosen = STALLS.filter(([, , negotiating]) => !negotiating).length;
    await comesTrue('all have said what they have to say', () => {
      const { connections, negotiating } = server.server.usage();
      return connections === STALLS.length + 1 && negotiating === STALLS.length - chosen;
    });
    const served = witness.rounds;
    await comesTrue('the witness is served meanwhile', () => witness.rounds > served + 20);
    expect(server.count('handshake')).toBe(0);
    clock.advance(1000);
    await Promise.all(over);
    await comesTrue('those without a choice are gone', () => server.server.usage().negotiating === 0);
    expect(server.events.filter((event) => event === 'handshake the handshake took too long')).toHaveLength(
      over.length,
    );
    expect(server.server.usage().connections).toBe(chosen + 1);
    // One buffer for each that has chosen, one more for the long payload, and what the witness has in use.
    expect(server.server.usage().bufferBytes).toBeLessThanOrEqual((chosen + 1 + 1 + 2) * 270_000);
    for (const socket of stalled) socket.destroy();
    await comesTrue('only the witness is left', () => server.server.usage().connections === 1);
    await witness.stop();
    await comesTrue('nothing is held', () => server.server.usage().connections === 0);
    expect(server.server.usage()).toEqual(NOTHING_HELD);
  });
});

describe.each(RECEIVE_PATHS)('a client that floods, bytes $path', ({ copying }) => {
  it('and reads no reply holds what its limits say, and the others are served', async () => {
    const limits = { sessionBytesMax: 2 << 20, outputBytesMax: 512 * 1024, requestsInFlightMax: 64 };
    const server = await startBeset(SEED, { copying, limits });
    const witness = await Witness.start(server, 'witness-0', 0);
    const floods = [
      request({ type: 0, offset: 0, length: 65_536 }),
      request({ type: 1, offset: 0, payload: Buffer.alloc(20_000, 1) }),
      request({ type: 3 }),
      request({ type: 0, offset: 2 ** 41, length: 4 }),
      request({ type: 7, offset: 0, length: 65_536 }),
      option(6, infoData('v', [1, 2, 3])),
      option(3),
    ].map((each) => {
      const socket = net.connect({ path: server.socketPath });
      socket.on('error', () => undefined);
      socket.pause();
      const isOption = each.toString('latin1', 0, 8) === 'IHAVEOPT';
      socket.write(isOption ? u32(3) : Buffer.concat([u32(3), option(7, infoData('v'))]));
      // 8 MiB each, more than the kernel takes for a client that does not read.
      const flood = Buffer.concat(Array.from({ length: Math.ceil((8 << 20) / each.length) }, () => each));
      socket.write(flood);
      return { socket, flood };
    });
    await comesTrue('they are there', () => server.server.usage().connections === floods.length + 1);
    let heldMax = 0;
    const until = witness.rounds + 200;
    await comesTrue('the witness is served', () => {
      heldMax = Math.max(heldMax, server.server.usage().bufferBytes);
      return witness.rounds >= until;
    });
    expect(heldMax).toBeGreaterThan(0);
    expect(heldMax).toBeLessThanOrEqual((floods.length + 1) * (limits.sessionBytesMax + 4 * 270_000));
    for (const { socket } of floods) socket.destroy();
    await comesTrue('only the witness is left', () => server.server.usage().connections === 1);
    await witness.stop();
    await comesTrue('nothing is held', () => server.server.usage().connections === 0);
    expect(server.server.usage()).toEqual(NOTHING_HELD);
  });
});

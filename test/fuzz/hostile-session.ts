import * as net from 'node:net';
import { SeededRandom } from '../base/seeded-random.js';
import { turns } from '../base/waiting.js';
import { applyEdit, drawEdit } from './mutations.js';

/** How a client behaves that means no good: what it says, in which pieces, and how it leaves. */
export interface HostilePlan {
  readonly bytes: Uint8Array;
  /** Places at which it pauses until the server has had a turn, ascending. */
  readonly pauses: readonly number[];
  /** fin: it says that it is done and waits for the end. reset, cut: it goes, without or with a word of the kernel's. */
  readonly leaves: 'fin' | 'reset' | 'cut';
  /** false: it never looks at an answer, until it leaves. */
  readonly reads: boolean;
  readonly transport: 'unix' | 'tcp';
}

export interface HostilePlace {
  readonly socketPath: string;
  readonly port: number;
}

/** How long a session may take before it counts as hanging. It has less than a megabyte to say to a server beside it. */
const HANG_MS = 30_000;

/** A recorded session after one to six changes, and a way to say it. */
export function hostilePlan(seed: number, corpus: readonly Uint8Array[]): HostilePlan {
  const dice = new SeededRandom(seed);
  // Neighbouring seeds begin alike.
  dice.bytes(8);
  let bytes = corpus[dice.below(corpus.length)] ?? new Uint8Array(0);
  for (let edits = dice.below(7); edits > 0; edits -= 1) {
    const edit = drawEdit(dice, corpus);
    // A short beginning decides what becomes of the rest: half of the changes are made there.
    bytes = applyEdit(bytes, dice.below(2) === 0 ? { ...edit, at: dice.below(Math.min(bytes.length, 220) + 1) } : edit);
  }
  const pauses = Array.from({ length: dice.below(5) }, () => dice.below(bytes.length + 1));
  const endOfHandshake = bytes.findIndex((_, at) => isRequestMagic(bytes, at));
  if (endOfHandshake >= 0 && dice.below(2) === 0) pauses.push(endOfHandshake);
  return {
    bytes,
    pauses: pauses.sort((left, right) => left - right),
    leaves: (['fin', 'fin', 'reset', 'cut'] as const)[dice.below(4)] ?? 'fin',
    reads: dice.below(4) > 0,
    transport: dice.below(2) === 0 ? 'unix' : 'tcp',
  };
}

/** Does as planned. Resolves with what it was answered when the connection is over; rejects when that takes too long. */
export async function play(plan: HostilePlan, place: HostilePlace): Promise<Buffer> {
  const to = plan.transport === 'unix' ? { path: place.socketPath } : { host: '127.0.0.1', port: place.port };
  const socket = net.connect({ ...to, allowHalfOpen: true });
  const answers: Buffer[] = [];
  // Both come from a server that has closed: the client's own trouble.
  socket.on('error', () => undefined);
  const over = new Promise<void>((resolve, reject) => {
    const hanging = setTimeout(() => {
      socket.destroy();
      reject(new Error(`the session hangs: ${describePlan(plan)}`));
    }, HANG_MS);
    socket.on('close', () => {
      clearTimeout(hanging);
      resolve();
    });
  });
  socket.on('data', (data: Buffer) => answers.push(data));
  // The server has closed its half: nothing more will come of this.
  socket.on('end', () => socket.destroy());
  if (!plan.reads) socket.pause();
  let sent = 0;
  for (const pause of [...plan.pauses, plan.bytes.length]) {
    if (pause > sent) socket.write(plan.bytes.subarray(sent, pause));
    sent = Math.max(sent, pause);
    if (pause < plan.bytes.length) await turns(4);
  }
  // What the kernel has not taken is not said: a server that reads no further must not keep the client from leaving.
  if (plan.leaves === 'fin') socket.end(() => socket.resume());
  else {
    await turns(4);
    if (plan.leaves === 'reset' && plan.transport === 'tcp') socket.resetAndDestroy();
    else socket.destroy();
  }
  // Leaving, it looks at what it was told: otherwise a server with a full socket could not say goodbye.
  socket.resume();
  await over;
  return Buffer.concat(answers);
}

/** What a server answered, as far as it tells one kind of behaviour from another: reply types and errors. */
export function signatureOf(answers: Buffer): string {
  const seen = new Set<string>();
  for (let at = 0; at + 20 <= answers.length; at += 1) {
    const magic = answers.readUInt32BE(at);
    if (magic === 0x0003e889)
      seen.add(`o${String(answers.readUInt32BE(at + 8))}.${answers.toString('hex', at + 12, at + 16)}`);
    if (magic === 0x67446698) seen.add(`s${String(answers.readUInt32BE(at + 4))}`);
    if (magic === 0x668e33ef) seen.add(`c${answers.toString('hex', at + 4, at + 8)}`);
  }
  return [...seen].sort().join(' ');
}

export function describePlan(plan: HostilePlan): string {
  const { bytes, ...how } = plan;
  return `${JSON.stringify(how)}, ${String(bytes.length)} bytes beginning with ${Buffer.from(bytes).toString('hex', 0, 200)}`;
}

function isRequestMagic(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0x25 && bytes[at + 1] === 0x60 && bytes[at + 2] === 0x95 && bytes[at + 3] === 0x13;
}

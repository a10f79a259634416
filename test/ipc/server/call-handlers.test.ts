import { Writable } from 'node:stream';
import { Metadata } from '@grpc/grpc-js';
import { expect, it } from 'vitest';
import { CallGate } from '../../../src/ipc/server/call-gate.js';
import { serverStream } from '../../../src/ipc/server/call-handlers.js';
import { LogLines } from '../../base/log-lines.js';

/** A call as gRPC makes it: a stream of messages, each of which leaves when the client has room for it. */
class SlowCall extends Writable {
  readonly metadata = new Metadata();
  readonly cancelled = false;
  readonly request = {};
  readonly taken: number[] = [];
  take: () => void = () => undefined;

  constructor(token: string) {
    super({ objectMode: true });
    this.metadata.set('authorization', `Bearer ${token}`);
  }

  getPeer(): string {
    return 'test';
  }

  override _write(message: number, _encoding: string, done: () => void): void {
    this.take = () => {
      this.taken.push(message);
      done();
    };
  }
}

it('makes the next message of a stream only when the client has taken the last', async () => {
  const made: number[] = [];
  const gate = new CallGate({ token: 'token' }, { log: new LogLines() });
  const handler = serverStream<object, number, number>(
    gate,
    async function* () {
      for (let number = 0; number < 5; number += 1) {
        made.push(number);
        yield number;
      }
    },
    (number) => number,
  );
  const call = new SlowCall('token');
  handler(call as never);
  for (let taken = 0; taken < 5; taken += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    expect(made).toHaveLength(taken + 1);
    call.take();
  }
  await new Promise((resolve) => call.once('finish', resolve));
  expect(call.taken).toEqual([0, 1, 2, 3, 4]);
});

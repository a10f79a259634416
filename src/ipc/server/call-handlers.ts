/**
 * Turns plain functions into gRPC handlers: admission, cancellation, translation of failures, and backpressure. Errors
 * of a stream that was cancelled are heard here, because unheard they would end the process.
 */
import { type handleServerStreamingCall, type handleUnaryCall, type ServerWritableStream, status } from '@grpc/grpc-js';
import type { Caller } from '../../control/caller.js';
import type { CallGate } from './call-gate.js';
import { CallRefused } from './to-status.js';

export type SignalledCaller = Caller & { readonly signal: AbortSignal };

/** A handler that admits the call, answers what `handle` resolves to, and translates what it throws. */
export function unary<Request, Response>(
  gate: CallGate,
  handle: (request: Request, caller: SignalledCaller) => Promise<Response> | Response,
): handleUnaryCall<Request, Response> {
  return (call, callback) => {
    const run = async (): Promise<Response> => {
      const { caller, leave } = gate.admit(call);
      try {
        return await handle(call.request, caller);
      } finally {
        leave();
      }
    };
    run().then(
      (response) => {
        callback(null, response);
      },
      (thrown: unknown) => {
        callback(gate.statusOf(thrown));
      },
    );
  };
}

/** Sends what `open` yields; asks for the next one only when the client has taken the last. */
export function serverStream<Request, Item, Message>(
  gate: CallGate,
  open: (request: Request, caller: SignalledCaller) => AsyncGenerator<Item, void, void>,
  toMessage: (item: Item) => Message,
): handleServerStreamingCall<Request, Message> {
  return (call) => {
    // A client that goes away is told by its signal; the error of the stream says the same a second time.
    call.on('error', () => undefined);
    const run = async (): Promise<void> => {
      const { caller, leave } = gate.admit(call, true);
      try {
        for await (const item of open(call.request, caller)) {
          if (caller.signal.aborted) break;
          await sent(call, toMessage(item), caller.signal);
        }
        if (caller.signal.aborted && !gate.isOpen) throw new CallRefused(status.UNAVAILABLE, 'the daemon is stopping');
      } finally {
        leave();
      }
    };
    run().then(
      () => {
        call.end();
      },
      (thrown: unknown) => {
        call.emit('error', gate.statusOf(thrown));
      },
    );
  };
}

/**
 * Resolves when the message has gone out to the client, or when there is nobody to take it. Not `write` and `drain`:
 * the stream counts messages, and would hold sixteen of an image's mebibytes for a client that does not read.
 */
function sent<Request, Message>(
  call: ServerWritableStream<Request, Message>,
  message: Message,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve();
      return;
    }
    const done = (): void => {
      call.off('close', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    call.on('close', done);
    signal.addEventListener('abort', done);
    call.write(message, done);
  });
}

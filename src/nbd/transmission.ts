import { unreachable } from '../base/assert.js';
import type { Clock } from '../base/clock.js';
import { Operation, type BlockDevice, type DeviceFault } from '../device/block-device.js';
import { faultOf } from '../device/device-error.js';
import type { DeviceStatistics } from '../device/device-statistics.js';
import type { BusyPoll } from './busy-poll.js';
import type { ByteChannel, ChannelUser } from './byte-channel.js';
import { capacityFor, type ChunkHolder, type ChunkPool } from './chunk-pool.js';
import {
  NBD_CMD_BLOCK_STATUS,
  NBD_CMD_DISC,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLUSH,
  NBD_CMD_WRITE,
  NBD_ESHUTDOWN,
  NBD_REQUEST_MAGIC,
  NBD_SUCCESS,
} from './constants.js';
import { FailureReports, type FailedRequest } from './failure-reports.js';
import type { ChosenExport } from './handshake.js';
import { FLUSH_BYTES, PAYLOAD_IN_CHUNK_BYTES_MAX, type NbdLimits } from './limits.js';
import { toNbdErrno } from './nbd-errno.js';
import { askContexts, type ContextStatus, type SelectedContext } from './meta-contexts.js';
import { NbdRequest, type RequestOwner } from './nbd-request.js';
import { ReceiveBuffer } from './receive-buffer.js';
import { ReplyOutput } from './reply-output.js';
import { ReplyWriter } from './reply-writer.js';
import { REQUEST_BYTES, blockStatusBytes, decodeRequest, type RequestHeader } from './transmission-codec.js';
import { operationOf, requestFlagsOf, validateRequest, type Agreement } from './transmission-validate.js';

/**
 * serving: requests are executed. draining: new ones get ESHUTDOWN, those in flight finish. finishing: nothing more is
 * decoded; the connection ends when everything in flight is answered. closed: the socket is gone; the device may still
 * own requests.
 */
type State = 'serving' | 'draining' | 'finishing' | 'closed';

export interface TransmissionDependencies {
  readonly pool: ChunkPool;
  readonly clock: Clock;
  readonly poll: BusyPoll;
  /** At most `failureReportsPerSecondMax` a second. */
  requestFailed(failed: FailedRequest): void;
  /** Called once: the socket is closed and the device owns nothing of this session any more. */
  finished(reason: string): void;
}

/**
 * The transmission phase of one connection. A receive is decoded to its last complete request, each request goes to
 * the device at once, and all replies that are ready at the end of the turn leave in one write. Nothing here allocates
 * per request, and nothing waits: what a client may not have yet is left undecoded, and its socket is not read.
 */
export class Transmission implements ChannelUser, RequestOwner, ChunkHolder {
  heldBytes = 0;
  readonly #limits: NbdLimits;
  readonly #agreement: Agreement;
  readonly #device: BlockDevice;
  readonly #statistics: DeviceStatistics;
  readonly #contexts: readonly SelectedContext[];
  readonly #dependencies: TransmissionDependencies;
  readonly #receive: ReceiveBuffer;
  readonly #output: ReplyOutput;
  readonly #replies: ReplyWriter;
  readonly #failures: FailureReports;
  readonly #free: NbdRequest[] = [];
  readonly #header: RequestHeader = { magic: 0, flags: 0, type: 0, cookieHigh: 0, cookieLow: 0, offset: 0, length: 0 };
  #channel: ByteChannel | null = null;
  #state: State = 'serving';
  #reason = 'the client closed the connection';
  #inFlight = 0;
  /** A WRITE whose payload is arriving in a chunk of its own. */
  #awaitingPayload: NbdRequest | null = null;
  /** Payload of a refused WRITE that is still to be read, and the reply that it gets then. */
  #skipBytes = 0;
  readonly #skipped: RequestHeader = { magic: 0, flags: 0, type: 0, cookieHigh: 0, cookieLow: 0, offset: 0, length: 0 };
  #skippedErrno = 0;
  /** A limit is reached: the next request stays undecoded, and the socket unread. */
  #isBlocked = false;
  /** New memory that the blocked request wants. */
  #blockedBytes = 0;
  #isPumping = false;
  #isTurnScheduled = false;
  #isEnding = false;
  #isFinished = false;
  readonly #turn = (): void => {
    this.#isTurnScheduled = false;
    this.#continue();
  };

  constructor(options: { limits: NbdLimits; chosen: ChosenExport }, dependencies: TransmissionDependencies) {
    this.#limits = options.limits;
    const { agreement, opened, contexts } = options.chosen;
    this.#agreement = agreement;
    this.#device = opened.device;
    this.#statistics = opened.statistics;
    this.#contexts = contexts;
    this.#dependencies = dependencies;
    this.#receive = new ReceiveBuffer(dependencies.pool, this);
    this.#output = new ReplyOutput(dependencies.pool, this);
    this.#replies = new ReplyWriter(this.#output, agreement.structuredReplies);
    this.#failures = new FailureReports(options.limits.failureReportsPerSecondMax, (failed) =>
      dependencies.requestFailed(failed),
    );
  }

  /** Requests that the device owns. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Begins to answer over `channel`, whose user this is. */
  start(channel: ByteChannel): void {
    this.#channel = channel;
    this.#output.attach(channel);
  }

  /** Finishes what is in flight, answers ESHUTDOWN to everything else, then ends the connection. */
  drain(reason: string): void {
    if (this.#state !== 'serving') return;
    this.#reason = reason;
    this.#state = 'draining';
    this.#endWaiting('serve');
    this.#continue();
  }

  /** Cuts the connection. Requests in flight are completed by the device and answered to nobody. */
  destroy(reason: string): void {
    if (this.#state === 'closed') return;
    this.#reason = reason;
    this.#channel?.destroy();
  }

  target(): Buffer {
    return this.#receive.target(this.#isBlocked);
  }

  received(count: number): boolean {
    if (this.#state === 'finishing' || this.#state === 'closed') {
      this.#receive.discard(count);
      return true;
    }
    this.#receive.received(count);
    this.#pump();
    return !this.#isBlocked;
  }

  /** The client sends no more: what was begun is still answered, what limits hold back is refused to who may have gone. */
  ended(): void {
    if (this.#state === 'finishing') this.#channel?.destroy();
    else if (this.#state !== 'closed') {
      this.#finish('the client closed the connection');
      this.#endWaiting('refuse');
    }
  }

  written(): void {
    this.#output.written();
    this.#continue();
  }

  closed(error: Error | null): void {
    if (error !== null && this.#state === 'serving') this.#reason = `the connection failed: ${error.message}`;
    this.#state = 'closed';
    this.#output.close();
    this.#receive.close();
    this.#awaitingPayload = null;
    this.#endWaiting('refuse');
    this.#settleClosed();
  }

  completed(request: NbdRequest, fault: DeviceFault | null): void {
    this.#inFlight -= 1;
    if (fault?.code === 'CLOSED' && this.#state !== 'serving') this.#statistics.abandoned();
    else this.#count(request, fault);
    if (this.#state === 'closed') {
      if (request.chunk !== null) this.#dependencies.pool.release(request.chunk);
      this.#recycle(request);
      this.#settleClosed();
      return;
    }
    if (request.operation === Operation.READ) this.#completeRead(request, fault);
    else this.#completeOther(request, fault);
    this.#recycle(request);
    this.#schedule();
  }

  #count({ operation, offsetBytes, lengthBytes, startedMs }: NbdRequest, fault: DeviceFault | null): void {
    const nowMs = this.#dependencies.clock.monotonicMs();
    this.#statistics.finished(operation, lengthBytes, nowMs - startedMs, fault !== null);
    if (fault !== null) this.#failures.report(nowMs, operation, offsetBytes, lengthBytes, fault);
  }

  /** What a throttled volume holds back is served when we end, not as slowly as it would be, or refused to who has gone. */
  #endWaiting(how: 'serve' | 'refuse'): void {
    this.#device.endWaiting?.(how, (request) => request instanceof NbdRequest && request.isOf(this));
  }

  /** All completions of one turn are answered together. */
  #schedule(): void {
    if (this.#isPumping || this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    process.nextTick(this.#turn);
  }

  /** Sends what is ready, and decodes again if that was waiting for it. */
  #continue(): void {
    if (this.#state === 'closed' || this.#isPumping) return;
    this.#output.flush();
    if (this.#isBlocked && this.#state !== 'finishing' && this.#admits(this.#blockedBytes)) {
      this.#pump();
      if (!this.#isBlocked) this.#channel?.resume();
      return;
    }
    this.#settle();
  }

  #pump(): void {
    this.#isPumping = true;
    do {
      this.#isBlocked = false;
      this.#process();
      this.#output.flush();
    } while (this.#isBlocked && this.#admits(this.#blockedBytes));
    this.#isPumping = false;
    this.#settle();
  }

  /** Nothing in flight, nothing unsent: an idle session holds no reply buffer, and one that should end does. */
  #settle(): void {
    const { poll } = this.#dependencies;
    if (this.#inFlight > 0 || this.#output.unsentBytes > 0) {
      poll.rest();
      return;
    }
    this.#output.rest();
    if (this.#state === 'serving') poll.answered();
    else if (this.#state === 'draining') this.#finish(this.#reason);
    else if (this.#state === 'finishing') this.#endConnection();
  }

  /** Decodes no more. The connection ends with the last reply. */
  #finish(reason: string): void {
    if (this.#state === 'finishing' || this.#state === 'closed') return;
    this.#reason = reason;
    this.#state = 'finishing';
    // What still arrives must be read and dropped: unread bytes would make the kernel reset the connection, and the
    // client would lose replies that it has not read yet.
    if (this.#isBlocked) {
      this.#isBlocked = false;
      this.#channel?.resume();
    }
    this.#continue();
  }

  #endConnection(): void {
    const channel = this.#channel;
    if (channel === null || this.#isEnding) return;
    this.#isEnding = true;
    const { clock } = this.#dependencies;
    const cut = clock.after(this.#limits.lingerMsMax, () => channel.destroy());
    channel.end(() => {
      clock.clear(cut);
      channel.destroy();
    });
  }

  #settleClosed(): void {
    if (this.#isFinished || this.#inFlight > 0) return;
    this.#isFinished = true;
    this.#failures.close();
    this.#dependencies.finished(this.#reason);
  }

  /** Decodes and executes as far as bytes and limits go. */
  #process(): void {
    const receive = this.#receive;
    const header = this.#header;
    while (this.#state === 'serving' || this.#state === 'draining') {
      if (this.#skipBytes > 0 && !this.#skip()) return;
      if (receive.expectsPayload && !this.#submitAwaited()) return;
      if (receive.available < REQUEST_BYTES) return;
      decodeRequest(receive.chunk.view, receive.position, header);
      if (header.magic !== NBD_REQUEST_MAGIC) {
        // What follows cannot be told apart from payload: there is no way back into step.
        this.destroy('the client sent something that is not a request');
        this.#finish(this.#reason);
        return;
      }
      if (!this.#execute(header)) return;
      if (this.#output.readyBytes >= FLUSH_BYTES) this.#output.flush();
    }
  }

  /** false: the request cannot be taken now, because of a limit or because its payload has not arrived. */
  #execute(header: RequestHeader): boolean {
    const { type, length } = header;
    if (type === NBD_CMD_DISC) {
      this.#receive.position += REQUEST_BYTES;
      this.#finish('the client disconnected');
      return false;
    }
    const errno = this.#state === 'draining' ? NBD_ESHUTDOWN : validateRequest(header, this.#agreement);
    if (errno !== NBD_SUCCESS || (length === 0 && type !== NBD_CMD_FLUSH)) return this.#answer(header, errno);
    if (type === NBD_CMD_BLOCK_STATUS) return this.#blockStatus(header);
    const operation = operationOf(type);
    switch (operation) {
      case Operation.READ:
        return this.#read(header);
      case Operation.WRITE:
        return this.#write(header);
      case Operation.FLUSH:
      case Operation.TRIM:
      case Operation.WRITE_ZEROES:
      case Operation.CACHE:
        if (!this.#admits(0)) return this.#block(0);
        this.#receive.position += REQUEST_BYTES;
        this.#submit(this.#request(header, operation));
        return true;
      case null:
        return this.#answer(header, errno);
      default:
        return unreachable(operation);
    }
  }

  /** Answers without the device: an error, or success for a request of no bytes. */
  #answer(header: RequestHeader, errno: number): boolean {
    if (!this.#admits(0)) return this.#block(0);
    this.#receive.position += REQUEST_BYTES;
    if (header.type === NBD_CMD_WRITE && header.length > 0) {
      // The payload comes whatever we think of the request. The reply waits for its end: clients match replies
      // against requests that they have sent completely.
      Object.assign(this.#skipped, header);
      this.#skippedErrno = errno;
      this.#skipBytes = header.length;
      return true;
    }
    this.#reply(header, errno);
    return true;
  }

  /** true: the payload of the refused WRITE is over and the refusal is on its way. */
  #skip(): boolean {
    const count = Math.min(this.#skipBytes, this.#receive.available);
    this.#receive.position += count;
    this.#skipBytes -= count;
    if (this.#skipBytes > 0) return false;
    this.#reply(this.#skipped, this.#skippedErrno);
    return true;
  }

  #reply(header: RequestHeader, errno: number): void {
    const operation = operationOf(header.type);
    if (errno !== NBD_SUCCESS && operation !== null) {
      this.#statistics.started();
      this.#statistics.finished(operation, header.length, 0, true);
    }
    this.#replies.status(header.cookieHigh, header.cookieLow, errno, -1);
  }

  #read(header: RequestHeader): boolean {
    const headBytes = this.#replies.dataHeadBytes;
    const output = this.#output;
    const bytes = headBytes + header.length;
    const newBytes = output.newBytesFor(bytes);
    if (!this.#admits(newBytes)) return this.#block(newBytes);
    this.#receive.position += REQUEST_BYTES;
    const request = this.#request(header, Operation.READ);
    const chunk = output.reserve(bytes);
    request.replyStart = output.reservedAt;
    request.pointAt(chunk, request.replyStart + headBytes);
    this.#submit(request);
    return true;
  }

  #write(header: RequestHeader): boolean {
    const receive = this.#receive;
    const { length } = header;
    const isWhole = receive.available >= REQUEST_BYTES + length;
    if (!isWhole && length <= PAYLOAD_IN_CHUNK_BYTES_MAX) return false;
    const newBytes = isWhole ? 0 : capacityFor(length);
    if (!this.#admits(newBytes)) return this.#block(newBytes);
    receive.position += REQUEST_BYTES;
    const request = this.#request(header, Operation.WRITE);
    if (isWhole) {
      const chunk = receive.chunk;
      chunk.references += 1;
      request.pointAt(chunk, receive.position);
      receive.position += length;
      this.#submit(request);
    } else {
      receive.expectPayload(length);
      this.#awaitingPayload = request;
    }
    return true;
  }

  /** true: the payload that was awaited is complete, and its WRITE submitted. */
  #submitAwaited(): boolean {
    const payload = this.#receive.takePayload();
    const request = this.#awaitingPayload;
    if (payload === null || request === null) return false;
    this.#awaitingPayload = null;
    request.pointAt(payload, 0);
    this.#submit(request);
    return true;
  }

  #blockStatus(header: RequestHeader): boolean {
    const runsMax = (header.flags & NBD_CMD_FLAG_REQ_ONE) !== 0 ? 1 : this.#limits.extentsMax;
    const newBytes = this.#output.newBytesFor(this.#contexts.length * blockStatusBytes(runsMax));
    if (!this.#admits(newBytes)) return this.#block(newBytes);
    this.#receive.position += REQUEST_BYTES;
    this.#inFlight += 1;
    const { cookieHigh, cookieLow, offset, length } = header;
    askContexts(this.#contexts, offset, length, runsMax).then(
      (answer) => this.#sendStatus(cookieHigh, cookieLow, answer),
      (thrown: unknown) => {
        const fault = faultOf(thrown);
        this.#failures.report(this.#dependencies.clock.monotonicMs(), null, offset, length, fault);
        this.#sendStatus(cookieHigh, cookieLow, toNbdErrno(fault, null));
      },
    );
    return true;
  }

  /** Ends a BLOCK_STATUS with what each context says, or with an error. */
  #sendStatus(high: number, low: number, answer: readonly ContextStatus[] | number): void {
    this.#inFlight -= 1;
    if (this.#state === 'closed') {
      this.#settleClosed();
      return;
    }
    if (typeof answer === 'number') this.#replies.status(high, low, answer, -1);
    else answer.forEach((part, index) => this.#replies.blockStatus(high, low, part, index === answer.length - 1));
    this.#schedule();
  }

  #completeRead(request: NbdRequest, fault: DeviceFault | null): void {
    const chunk = request.chunk;
    if (chunk === null) return;
    if (fault === null) {
      this.#replies.data(request, chunk);
      return;
    }
    this.#output.abandon(chunk);
    const errno = toNbdErrno(fault, Operation.READ);
    this.#replies.status(request.cookieHigh, request.cookieLow, errno, request.offsetBytes);
  }

  #completeOther(request: NbdRequest, fault: DeviceFault | null): void {
    if (request.chunk !== null) this.#dependencies.pool.release(request.chunk);
    const errno = fault === null ? NBD_SUCCESS : toNbdErrno(fault, request.operation);
    this.#replies.status(request.cookieHigh, request.cookieLow, errno, -1);
  }

  #request(header: RequestHeader, operation: Operation): NbdRequest {
    const request = this.#free.pop() ?? new NbdRequest(this);
    request.operation = operation;
    request.offsetBytes = header.offset;
    request.lengthBytes = header.length;
    request.flags = requestFlagsOf(header.flags);
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.startedMs = this.#dependencies.clock.monotonicMs();
    return request;
  }

  #submit(request: NbdRequest): void {
    this.#inFlight += 1;
    this.#statistics.started();
    request.submitted();
    this.#device.submit(request);
  }

  #recycle(request: NbdRequest): void {
    request.recycled();
    if (this.#free.length < this.#limits.requestsInFlightMax) this.#free.push(request);
  }

  #block(newBytes: number): false {
    this.#isBlocked = true;
    this.#blockedBytes = newBytes;
    return false;
  }

  /** Whether one more request, which wants `newBytes` of memory, may be taken. A session with nothing at all may always. */
  #admits(newBytes: number): boolean {
    const limits = this.#limits;
    const unsentBytes = this.#output.unsentBytes;
    if (this.#inFlight === 0 && unsentBytes === 0) return true;
    return (
      this.#inFlight < limits.requestsInFlightMax &&
      unsentBytes < limits.outputBytesMax &&
      this.heldBytes + newBytes <= limits.sessionBytesMax &&
      this.#dependencies.pool.heldBytes + newBytes <= limits.serverBytesMax
    );
  }
}

import { assert } from '../base/assert.js';
import type { BlockRequest } from '../device/block-device.js';

/** Taken places in front of the queue that are given back together. */
const COMPACT_AT = 1024;

/**
 * Requests in the order in which they came, each with its number among all that came. It has no bound of its own: who
 * submits them (a session, an import) bounds what it has under way, and their memory is theirs.
 */
export class WaitingRequests {
  #requests: BlockRequest[] = [];
  #numbers: number[] = [];
  #head = 0;

  get length(): number {
    return this.#requests.length - this.#head;
  }

  push(request: BlockRequest, number: number): void {
    this.#requests.push(request);
    this.#numbers.push(number);
  }

  /** The oldest; undefined when none waits. */
  first(): BlockRequest | undefined {
    return this.#requests[this.#head];
  }

  /** Number of the oldest; Infinity when none waits. */
  firstNumber(): number {
    return this.length === 0 ? Infinity : this.#numbers[this.#head];
  }

  shift(): BlockRequest {
    assert(this.length > 0, 'only what waits is taken');
    const request = this.#requests[this.#head];
    this.#head += 1;
    if (this.#head === this.#requests.length) {
      this.#requests.length = 0;
      this.#numbers.length = 0;
      this.#head = 0;
    } else if (this.#head >= COMPACT_AT) {
      this.#requests.splice(0, this.#head);
      this.#numbers.splice(0, this.#head);
      this.#head = 0;
    }
    return request;
  }

  /** Takes out those that `of` picks, in order. */
  remove(of: (request: BlockRequest) => boolean): BlockRequest[] {
    const removed: BlockRequest[] = [];
    const requests: BlockRequest[] = [];
    const numbers: number[] = [];
    for (let at = this.#head; at < this.#requests.length; at += 1) {
      const request = this.#requests[at];
      if (of(request)) removed.push(request);
      else {
        requests.push(request);
        numbers.push(this.#numbers[at]);
      }
    }
    this.#requests = requests;
    this.#numbers = numbers;
    this.#head = 0;
    return removed;
  }
}

import type { ClientChannel, UnaryMethod } from './client-channel.js';
import type { BeginScrubRequest, Scrub, ScrubList, ScrubReference, ScrubsClient } from './generated/scrub.js';

/** The verbs of the service Scrubs as promises; failures are ClientError. '' as a volume: all. */
export class ScrubCalls {
  readonly #channel: ClientChannel;
  readonly #scrubs: ScrubsClient;

  constructor({ channel, scrubs }: { readonly channel: ClientChannel; readonly scrubs: ScrubsClient }) {
    this.#channel = channel;
    this.#scrubs = scrubs;
  }

  /** `bytesPerSecond` 0: as the daemon says. */
  async begin(volume: string, bytesPerSecond: number): Promise<Scrub[]> {
    const call: UnaryMethod<BeginScrubRequest, ScrubList> = (r, m, o, done) => this.#scrubs.begin(r, m, o, done);
    return (await this.#channel.unary(call, { volume, bytesPerSecond })).scrubs;
  }

  async cancel(volume: string): Promise<Scrub[]> {
    const call: UnaryMethod<ScrubReference, ScrubList> = (r, m, o, done) => this.#scrubs.cancel(r, m, o, done);
    return (await this.#channel.unary(call, { volume })).scrubs;
  }

  async status(volume: string): Promise<Scrub[]> {
    const call: UnaryMethod<ScrubReference, ScrubList> = (r, m, o, done) => this.#scrubs.status(r, m, o, done);
    return (await this.#channel.unary(call, { volume })).scrubs;
  }
}

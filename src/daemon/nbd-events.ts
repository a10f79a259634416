import type { Log } from '../base/log.js';
import { formatDuration } from '../base/duration.js';
import type { NewEvent } from '../control/event-log.js';
import type { ConnectedClient, NbdServerEvents } from '../nbd/server.js';

type Reported<Name extends keyof NbdServerEvents> = Parameters<NbdServerEvents[Name]>[0];

/** Turns what the NBD server reports into log lines and events. */
export class NbdEvents implements NbdServerEvents {
  readonly #append: (event: NewEvent) => void;
  readonly #log: Log;

  constructor(dependencies: { events: { append(event: NewEvent): void }; log: Log }) {
    this.#append = (event) => {
      dependencies.events.append(event);
    };
    this.#log = dependencies.log;
  }

  connected(client: ConnectedClient): void {
    this.#log.info({ ...client }, 'nbd: a client connected');
    this.#event(client, 'client.connected', 'info', `connected by ${client.transport}`);
  }

  disconnected(client: Reported<'disconnected'>): void {
    this.#log.info({ ...client }, 'nbd: a client left');
    const after = formatDuration(Math.max(0, Math.round(client.durationMs)));
    this.#event(client, 'client.disconnected', 'info', `left after ${after}: ${client.reason}`);
  }

  handshakeFailed(client: Reported<'handshakeFailed'>): void {
    this.#log.info({ ...client }, 'nbd: a connection ended in its handshake');
  }

  connectionRefused(refused: Reported<'connectionRefused'>): void {
    this.#log.warn({ ...refused }, 'nbd: a connection was refused');
  }

  requestFailed(failed: Reported<'requestFailed'>): void {
    this.#log.error({ ...failed }, 'nbd: a request failed');
    const { fault } = failed;
    const detail = 'detail' in fault ? `: ${fault.detail}` : '';
    this.#event(failed, 'request.failed', 'error', `${fault.code}${detail}`);
  }

  #event(client: ConnectedClient, kind: string, level: NewEvent['level'], message: string): void {
    this.#append({
      kind,
      volume: client.exportName,
      volumeId: client.volumeId,
      actor: `nbd ${client.address}`,
      message,
      level,
    });
  }
}

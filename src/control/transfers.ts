import { ControlError } from './control-error.js';
import { IMAGE_TRANSFERS_MAX } from './limits.js';

/** Images and streams on their way in or out: each holds memory and a place in the journal's queue. */
export class Transfers {
  #running = 0;

  /** Throws REFUSED when there are as many as there may be. Returns how to end this one; idempotent. */
  begin(): () => void {
    if (this.#running >= IMAGE_TRANSFERS_MAX) {
      throw new ControlError(`${IMAGE_TRANSFERS_MAX} images are being copied already; try again when one has ended`, {
        code: 'REFUSED',
        reason: 'busy',
      });
    }
    this.#running += 1;
    let isRunning = true;
    return () => {
      if (isRunning) this.#running -= 1;
      isRunning = false;
    };
  }
}

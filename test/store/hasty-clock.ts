import type { Timer } from '../../src/base/clock.js';
import { SystemClock } from '../../src/base/system-clock.js';

/** Waits before another try are as good as over; a checkpoint's interval is not. */
export class HastyClock extends SystemClock {
  override after(delayMs: number, callback: () => void): Timer {
    return super.after(delayMs >= 3_600_000 ? delayMs : 1, callback);
  }
}

/** Besides, a second is over at each look: what is believed for one is asked again. */
export class LeapingClock extends HastyClock {
  #ms = 0;
  override monotonicMs(): number {
    return (this.#ms += 2000);
  }
}

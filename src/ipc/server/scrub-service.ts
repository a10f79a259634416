import type { Scrubs } from '../../control/scrubs.js';
import type { ScrubView } from '../../control/scrub-view.js';
import type { Scrub, ScrubList, ScrubsServer } from '../generated/scrub.js';
import type { CallGate } from './call-gate.js';
import { unary } from './call-handlers.js';

/** The service Scrubs of scrub.proto. */
export function scrubsService(gate: CallGate, scrubs: Scrubs): ScrubsServer {
  return {
    begin: unary(gate, async ({ volume, bytesPerSecond }, caller) =>
      toList(
        volume === ''
          ? await scrubs.beginAll(bytesPerSecond, caller)
          : [await scrubs.begin(volume, bytesPerSecond, caller)],
      ),
    ),
    cancel: unary(gate, async ({ volume }, caller) =>
      toList(volume === '' ? await scrubs.cancelAll(caller) : [await scrubs.cancel(volume, caller)]),
    ),
    status: unary(gate, async ({ volume }) => toList(await scrubs.status(volume))),
  };
}

function toList(views: readonly ScrubView[]): ScrubList {
  return { scrubs: views.map(toScrub) };
}

function toScrub(view: ScrubView): Scrub {
  return {
    ...view,
    run: view.run === null ? undefined : { ...view.run },
    last: view.last === null ? undefined : { ...view.last },
    bad: view.bad.map((range) => ({ ...range })),
  };
}

import { setTimeout as delay } from 'node:timers/promises';
import { parseThroughput } from '../../base/size.js';
import type { ScrubCalls } from '../../ipc/client-scrub.js';
import type { Scrub } from '../../ipc/generated/scrub.js';
import { usageError } from '../cli-error.js';
import { command } from '../command.js';
import { EXIT } from '../exit-code.js';
import type { Output } from '../output/output.js';
import { badRangesTable, scrubFacts, scrubTable, toScrubView } from '../output/scrub-text.js';
import type { Session } from '../session.js';

const LOOK_MS = 250;
const ONE_VOLUME = { summary: 'name or id; one named "status" or "cancel" by its id', completes: 'volume' } as const;
const ALL = { kind: 'flag', summary: 'all volumes' } as const;

export const volumeScrub = command({
  verb: ['volume', 'scrub'],
  summary: 'read a volume and its snapshots whole, and check every block',
  details:
    'Runs in the daemon, behind all other work, one volume at a time, and goes on after a restart. What cannot be read is\n' +
    'marked: see `gfs volume scrub status VOLUME`. The daemon does the same by itself (--scrub-interval of `gfs -d`).\n' +
    'With --wait the exit status is 0 when everything is right, and 1 when something is damaged.\n' +
    'Example:\n  gfs volume scrub data --rate 200M --wait',
  words: { volume: ONE_VOLUME },
  options: {
    all: ALL,
    rate: { kind: 'text', summary: 'bytes a second at most (default: as the daemon says)', value: 'SIZE' },
    wait: { kind: 'flag', alias: 'w', summary: 'wait until it has ended' },
  },
  async run({ volume }, { all, rate, wait }, session) {
    const reference = oneOrAll(volume, all, 'scrub');
    const bytesPerSecond = rate === undefined ? 0 : parseThroughput(rate);
    if (rate !== undefined && bytesPerSecond === 0) throw usageError('--rate is more than nothing, such as 100M');
    const calls = (await session.client()).scrubs;
    const begun = await calls.begin(reference, bytesPerSecond);
    if (!wait) {
      session.output.answer(begun.map(toScrubView), () => begunText(begun, session));
      return EXIT.ok;
    }
    const ended = await untilEnded(calls, reference, session);
    session.output.answer(ended.map(toScrubView), () =>
      ended.map((scrub) => scrubText(scrub, session.output)).join('\n\n'),
    );
    return ended.every(isRight) ? EXIT.ok : EXIT.failed;
  },
});

export const volumeScrubStatus = command({
  verb: ['volume', 'scrub', 'status'],
  summary: 'show what scrubs do, have done and found',
  words: { volume: { summary: 'name or id (default: all)', completes: 'volume' } },
  options: {},
  async run({ volume }, _options, session) {
    const { output, world } = session;
    const scrubs = await (await session.client()).scrubs.status(volume ?? '');
    output.answer(scrubs.map(toScrubView), () =>
      volume === undefined
        ? scrubTable(scrubs, output, world.clock.wallMs())
        : scrubs.map((scrub) => scrubText(scrub, output)).join('\n\n'),
    );
  },
});

export const volumeScrubCancel = command({
  verb: ['volume', 'scrub', 'cancel'],
  summary: 'end a scrub; what it has found stays marked',
  words: { volume: { summary: 'name or id', completes: 'volume' } },
  options: { all: ALL },
  async run({ volume }, { all }, session) {
    const scrubs = await (await session.client()).scrubs.cancel(oneOrAll(volume, all, 'scrub cancel'));
    session.output.answer(scrubs.map(toScrubView), () =>
      scrubs.length === 0
        ? 'no scrub was under way'
        : scrubs.map(({ name }) => `${name}: no scrub is under way any more`).join('\n'),
    );
  },
});

function oneOrAll(volume: string | undefined, all: boolean, verb: string): string {
  if ((volume === undefined) !== all) throw usageError(`name a volume, or give --all: gfs volume ${verb} VOLUME`);
  return volume ?? '';
}

function begunText(scrubs: readonly Scrub[], { output, world }: Session): string {
  const table = scrubTable(scrubs, output, world.clock.wallMs());
  return `${table}\n\`gfs volume scrub status\` shows how far it is`;
}

function scrubText(scrub: Scrub, output: Output): string {
  const facts = output.facts([['volume', scrub.name], ...scrubFacts(scrub)]);
  const ranges = badRangesTable(scrub, output);
  return ranges === '' ? facts : `${facts}\n${ranges}`;
}

/** Looks again and again: a scrub may take days, and a daemon that restarts goes on with it. */
async function untilEnded(calls: ScrubCalls, reference: string, session: Session): Promise<Scrub[]> {
  for (;;) {
    const scrubs = await calls.status(reference);
    if (scrubs.every(({ run }) => run === undefined)) return scrubs;
    await delay(LOOK_MS, undefined, { signal: session.signal });
  }
}

/** A volume that cannot be read at all is not right either. */
function isRight({ badBlocks, last, stateReason }: Scrub): boolean {
  return badBlocks === 0 && stateReason === '' && last?.outcome === 'clean';
}

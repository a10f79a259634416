import type { Event } from '../../ipc/generated/control.js';
import { command } from '../command.js';
import { parseCount } from '../option-values.js';
import type { Output } from '../output/output.js';
import { cutText, printable, textWidth } from '../output/text-width.js';
import { toIso } from '../output/volume-view.js';

const EVENTS_SHOWN = '50';

export const events = command({
  verb: ['events'],
  summary: 'show who created, deleted, exported, connected, and what failed',
  details: 'With --follow, -o json prints one object a line.',
  words: {},
  options: {
    follow: { kind: 'flag', alias: 'f', summary: 'go on showing new events until Ctrl-C' },
    limit: { kind: 'text', alias: 'n', summary: `newest so many; 0 for all (default: ${EVENTS_SHOWN})`, value: 'N' },
    volume: { kind: 'text', summary: 'only those of one volume', value: 'VOLUME', completes: 'volume' },
  },
  async run(_words, { follow, limit, volume }, session) {
    const { output } = session;
    const request = { follow, limit: parseCount('--limit', limit ?? EVENTS_SHOWN, 0), volume: volume ?? '' };
    const stream = (await session.client()).events(request);
    if (follow) {
      for await (const event of stream) output.sample(toEventView(event), () => eventLine(event, output));
      return;
    }
    const past: Event[] = [];
    for await (const event of stream) past.push(event);
    output.answer(past.map(toEventView), () =>
      past.length === 0 ? 'no events yet' : past.map((event) => eventLine(event, output)).join('\n'),
    );
  },
});

function toEventView(event: Event): object {
  return {
    id: event.id,
    at: toIso(event.atMs),
    level: event.level,
    kind: event.kind,
    volume: event.volume,
    volumeId: event.volumeId,
    actor: event.actor,
    message: event.message,
  };
}

/** One line, also while following: a column that grew later would tear a table apart. */
function eventLine(event: Event, output: Output): string {
  const { colours } = output;
  const [kind, volume, actor, message] = [event.kind, event.volume, event.actor, event.message].map(printable);
  const head = [toIso(event.atMs), (kind ?? '').padEnd(18), (volume || '-').padEnd(16), (actor || '-').padEnd(18)];
  const start = head.join('  ') + '  ';
  // On a narrow terminal the message matters most: the actor goes, then the message wraps as the terminal does it.
  const width = output.width ?? Infinity;
  const short = textWidth(start) + 20 > width ? head.slice(0, 3).join('  ') + '  ' : start;
  const line = cutText(short + (message ?? ''), Math.max(width, 40));
  if (event.level === 'error') return colours.red(line);
  return event.level === 'warn' ? colours.yellow(line) : line;
}

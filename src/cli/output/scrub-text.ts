import { formatSize } from '../../base/size.js';
import type { BadRange, Scrub } from '../../ipc/generated/scrub.js';
import { formatAge } from './age.js';
import type { Output } from './output.js';
import type { Column } from './table.js';
import { toIso } from './volume-view.js';

/** A scrub as `-o json` shows it. Fields are added, never renamed or removed: scripts read this. */
export function toScrubView(scrub: Scrub): object {
  const { run, last } = scrub;
  return {
    volumeId: scrub.volumeId,
    name: scrub.name,
    state: scrub.state,
    stateReason: scrub.stateReason,
    run:
      run === undefined
        ? null
        : {
            startedAt: toIso(run.startedAtMs),
            actor: run.actor,
            bytesPerSecond: run.bytesPerSecond,
            bytes: run.bytes,
            totalBytes: run.totalBytes,
            blocks: run.blocks,
            activeSeconds: run.activeMs / 1000,
          },
    last:
      last === undefined
        ? null
        : {
            startedAt: toIso(last.startedAtMs),
            endedAt: toIso(last.endedAtMs),
            actor: last.actor,
            activeSeconds: last.activeMs / 1000,
            blocks: last.blocks,
            bytes: last.bytes,
            badBlocks: last.badBlocks,
            outcome: last.outcome,
            reason: last.reason,
          },
    badBlocks: scrub.badBlocks,
    badRanges: scrub.bad.map(toBadRangeView),
    moreBadBlocks: scrub.moreBadBlocks,
    nextAt: scrub.nextAtMs === 0 ? null : toIso(scrub.nextAtMs),
  };
}

function toBadRangeView(range: BadRange): object {
  const { offsetBytes, lengthBytes, snapshot, shown, reason, segment, generation, fileOffset, layer } = range;
  return { offsetBytes, lengthBytes, snapshot, shown, reason, segment, generation, fileOffset, layer };
}

/** One line a volume: `gfs volume scrub status`. */
export function scrubTable(scrubs: readonly Scrub[], output: Output, nowMs: number): string {
  if (scrubs.length === 0) return 'no volumes';
  const { colours } = output;
  const columns: Column<Scrub>[] = [
    { title: 'NAME', value: (of) => of.name, widthMin: 12 },
    { title: 'STATE', value: stateText },
    { title: 'READ', value: (of) => formatSize(of.run?.bytes ?? of.last?.bytes ?? 0), align: 'right', dropOrder: 3 },
    { title: 'LAST', value: (of) => lastText(of, nowMs), dropOrder: 1 },
    {
      title: 'BAD BLOCKS',
      value: (of) => String(of.badBlocks),
      align: 'right',
      paint: (text, of) => (of.badBlocks > 0 ? colours.red(text) : text),
    },
    { title: 'NEXT', value: (of) => nextText(of, nowMs), dropOrder: 2 },
    { title: 'NOTE', value: (of) => of.stateReason, widthMin: 10, dropOrder: 4 },
  ];
  return output.table(columns, scrubs);
}

/** Name and value pairs about one volume, for `gfs volume get` and `gfs volume scrub status VOLUME`. */
export function scrubFacts(scrub: Scrub): [string, string][] {
  const { run, last } = scrub;
  const facts: [string, string][] = [
    ['scrub', `${stateText(scrub)}${scrub.stateReason === '' ? '' : `: ${scrub.stateReason}`}`],
  ];
  if (run !== undefined) {
    const rate = `${formatSize(run.bytesPerSecond)}/s at most`;
    facts.push(['  begun', `${toIso(run.startedAtMs)} by ${run.actor}, ${rate}`]);
    facts.push([
      '  read',
      `${formatSize(run.bytes)} of about ${formatSize(run.totalBytes)} in ${seconds(run.activeMs)}`,
    ]);
  }
  if (last === undefined) facts.push(['last scrub', 'never']);
  else {
    const why = last.reason === '' ? '' : `: ${last.reason}`;
    facts.push(['last scrub', `${last.outcome}${why}, ended ${toIso(last.endedAtMs)}`]);
    facts.push(['  read', `${formatSize(last.bytes)}, ${String(last.blocks)} blocks, in ${seconds(last.activeMs)}`]);
  }
  if (scrub.nextAtMs > 0) facts.push(['next scrub', toIso(scrub.nextAtMs)]);
  if (scrub.badBlocks > 0) facts.push(['bad blocks', String(scrub.badBlocks)]);
  return facts;
}

/** Each damaged range in a line; '' without any. */
export function badRangesTable(scrub: Scrub, output: Output): string {
  if (scrub.bad.length === 0) return '';
  const columns: Column<BadRange>[] = [
    { title: 'OFFSET', value: (of) => String(of.offsetBytes), align: 'right' },
    { title: 'BYTES', value: (of) => String(of.lengthBytes), align: 'right' },
    { title: 'IN', value: (of) => (of.snapshot === '' ? 'the volume' : `snapshot ${of.snapshot}`) },
    { title: 'SHOWN', value: (of) => (of.shown ? 'yes' : 'no'), dropOrder: 2 },
    { title: 'WHERE', value: whereText, dropOrder: 3 },
    { title: 'WHY', value: (of) => of.reason, widthMin: 16, dropOrder: 1 },
  ];
  const more = scrub.moreBadBlocks > 0 ? `\nand ${String(scrub.moreBadBlocks)} more blocks that are not listed` : '';
  return output.table(columns, scrub.bad) + more;
}

function stateText({ state, run }: Scrub): string {
  if (run === undefined || state !== 'running') return state;
  const share = run.totalBytes === 0 ? 1 : Math.min(1, run.bytes / run.totalBytes);
  return `running, ${String(Math.floor(share * 100))}%`;
}

function lastText({ last }: Scrub, nowMs: number): string {
  return last === undefined ? 'never' : `${last.outcome}, ${formatAge(nowMs - last.endedAtMs)} ago`;
}

function nextText({ nextAtMs }: Scrub, nowMs: number): string {
  if (nextAtMs === 0) return '-';
  return nextAtMs <= nowMs ? 'now' : `in ${formatAge(nextAtMs - nowMs)}`;
}

function whereText({ segment, fileOffset }: BadRange): string {
  return segment < 0 ? 'the map' : `journal/segment-${String(segment).padStart(8, '0')} at ${String(fileOffset)}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** What every server is asked to do. One row is one measurement; its name is what `--only` takes. */
import { assert } from '../../src/base/assert.js';

export type Unit = 'IOPS' | 'MiB/s' | 'flushes/s';

export interface FioWork {
  readonly name: string;
  readonly title: string;
  readonly kind: 'fio';
  readonly unit: Unit;
  /** fio's own word for it. */
  readonly pattern: 'randread' | 'randwrite' | 'read' | 'write' | 'randrw';
  readonly requestBytes: number;
  /** Requests in flight of one connection. */
  readonly depth: number;
  /** Connections, each with a job of its own. */
  readonly jobs: number;
}

/** One 4 KiB write and one FLUSH after the other. fio's figure for it is not reliable, so a libnbd loop measures it. */
export interface FlushWork {
  readonly name: string;
  readonly title: string;
  readonly kind: 'flush';
  readonly unit: Unit;
}

export type Work = FioWork | FlushWork;

const KIB = 1024;
const MIB = 1024 * KIB;

function fio(
  name: string,
  title: string,
  pattern: FioWork['pattern'],
  details: { requestBytes: number; depth: number; jobs?: number },
): FioWork {
  const unit = details.requestBytes < MIB ? 'IOPS' : 'MiB/s';
  return { kind: 'fio', name, title, pattern, unit, jobs: 1, ...details };
}

/** In the order in which a round does them: reads find the working set as it was filled, so writes come after them. */
export const WORKS: readonly Work[] = [
  fio('rand-read-1', 'random read 4 KiB, depth 1', 'randread', { requestBytes: 4 * KIB, depth: 1 }),
  fio('rand-read-32', 'random read 4 KiB, depth 32', 'randread', { requestBytes: 4 * KIB, depth: 32 }),
  fio('seq-read', 'sequential read 1 MiB, depth 4', 'read', { requestBytes: MIB, depth: 4 }),
  fio('multi-read', 'random read 4 KiB, 4 connections, depth 8', 'randread', {
    ...{ requestBytes: 4 * KIB, depth: 8, jobs: 4 },
  }),
  fio('mix-16', '70% read, 30% write 4 KiB, depth 16', 'randrw', { requestBytes: 4 * KIB, depth: 16 }),
  fio('rand-write-1', 'random write 4 KiB, depth 1', 'randwrite', { requestBytes: 4 * KIB, depth: 1 }),
  fio('rand-write-32', 'random write 4 KiB, depth 32', 'randwrite', { requestBytes: 4 * KIB, depth: 32 }),
  fio('multi-write', 'random write 4 KiB, 4 connections, depth 8', 'randwrite', {
    ...{ requestBytes: 4 * KIB, depth: 8, jobs: 4 },
  }),
  fio('seq-write', 'sequential write 1 MiB, depth 4', 'write', { requestBytes: MIB, depth: 4 }),
  { kind: 'flush', name: 'flush-1', title: 'write 4 KiB + flush, depth 1', unit: 'flushes/s' },
];

/** How a working set is written once before anything is measured. */
export const FILL: FioWork = fio('fill', 'fill', 'write', { requestBytes: MIB, depth: 4 });

/** One of the works that fio does. */
export function workNamed(name: 'rand-read-1' | 'rand-read-32' | 'rand-write-1' | 'rand-write-32'): FioWork {
  const work = WORKS.find((each) => each.name === name);
  assert(work?.kind === 'fio', 'the table has it');
  return work;
}

/** A read wants the working set as the fill left it: a log that was overwritten at random is another disk. */
export function wantsFreshFill(work: Work): boolean {
  return work.kind === 'fio' && (work.pattern === 'randread' || work.pattern === 'read');
}

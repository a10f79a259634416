import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BenchError } from './bench-error.js';
import type { Children } from './children.js';
import type { FioWork } from './works.js';

export interface FioRun {
  /** nbd+unix URI of the export. */
  readonly uri: string;
  /** Bytes of the export that are used. */
  readonly sizeBytes: number;
  /** null: the whole size once, or as many bytes as are asked for. */
  readonly seconds: number | null;
  readonly bytes?: number;
  readonly seed: number;
  /** More of fio's options. */
  readonly more?: readonly string[];
}

export interface FioFigures {
  readonly operationsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly bytes: number;
  /** 99th and 99.9th percentile of the latency of writes, or of reads where nothing is written; microseconds. */
  readonly p99Us: number;
  readonly p999Us: number;
  /** The longest of them. */
  readonly maxUs: number;
}

/** What fio has longer than its time limit before it is given up. */
const GRACE_SECONDS = 90;
/** Without a time limit: what even a slow disk takes in a second. */
const BYTES_PER_SECOND_LEAST = 16 * 2 ** 20;
const PERCENTILES = { p99: '99.000000', p999: '99.900000' } as const;

/** Runs fio's nbd engine once. Throws BenchError with what fio said when it fails. */
export async function runFio(children: Children, scratch: string, work: FioWork, run: FioRun): Promise<FioFigures> {
  // On stdout the engine's own lines stand between those of the JSON.
  const output = join(scratch, `fio-${process.pid}.json`);
  const args = [...fioArguments(work, run), `--output=${output}`];
  const bytes = run.bytes ?? run.sizeBytes;
  const limitSeconds = (run.seconds ?? bytes / BYTES_PER_SECOND_LEAST) + GRACE_SECONDS;
  const { stdout, stderr } = await children.run('fio', args, { limitMs: limitSeconds * 1000, cwd: scratch });
  const text = await readFile(output, 'utf8');
  return parseFio(text, `${stdout}${stderr}`);
}

export function fioArguments(work: FioWork, run: FioRun): string[] {
  return [
    `--name=${work.name}`,
    '--ioengine=nbd',
    `--uri=${run.uri}`,
    `--rw=${work.pattern}`,
    ...(work.pattern === 'randrw' ? ['--rwmixread=70'] : []),
    `--bs=${work.requestBytes}`,
    `--iodepth=${work.depth}`,
    `--numjobs=${work.jobs}`,
    `--size=${run.sizeBytes}`,
    ...(run.bytes === undefined ? [] : [`--io_size=${run.bytes}`]),
    ...(run.seconds === null
      ? ['--refill_buffers=1']
      : ['--time_based=1', `--runtime=${Math.round(run.seconds * 1000)}ms`]),
    `--randseed=${run.seed}`,
    // Without it fio remembers every block that it has hit, which costs the client and means nothing to a server.
    '--norandommap=1',
    '--thread=1',
    '--group_reporting=1',
    '--disable_slat=1',
    '--percentile_list=50:99:99.9',
    '--output-format=json',
    ...(run.more ?? []),
  ];
}

interface Direction {
  readonly iops: number;
  readonly bw_bytes: number;
  readonly io_bytes: number;
  readonly clat_ns?: { readonly max?: number; readonly percentile?: Readonly<Record<string, number>> };
}

/** Throws BenchError when it is no result of fio's or tells of an error; `said` is what else fio wrote. */
export function parseFio(text: string, said = ''): FioFigures {
  let job: { error: number; read: Direction; write: Direction } | undefined;
  try {
    job = JSON.parse(text.slice(text.indexOf('{'))).jobs[0];
  } catch (thrown) {
    throw new BenchError(`fio's answer cannot be read (${String(thrown)}): ${text.slice(0, 500)}\n${said}`);
  }
  if (job === undefined) throw new BenchError(`fio told of no job: ${said}`);
  if (job.error !== 0) throw new BenchError(`fio ended with error ${job.error}: ${said}`);
  const { read, write } = job;
  const slower = (write.io_bytes > 0 ? write : read).clat_ns;
  return {
    operationsPerSecond: read.iops + write.iops,
    bytesPerSecond: read.bw_bytes + write.bw_bytes,
    bytes: read.io_bytes + write.io_bytes,
    p99Us: (slower?.percentile?.[PERCENTILES.p99] ?? 0) / 1000,
    p999Us: (slower?.percentile?.[PERCENTILES.p999] ?? 0) / 1000,
    maxUs: (slower?.max ?? 0) / 1000,
  };
}

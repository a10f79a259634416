import type { Bed } from './bed.js';
import { type FioFigures, runFio } from './fio.js';
import { busySeconds, cpuSeconds as cpuSecondsOf } from './process-usage.js';
import { runFlushLoop } from './flush-loop.js';
import { assertMeasured, type Measurement } from './measurement.js';
import type { Peer, RunningPeer } from './peer.js';
import { FILL, wantsFreshFill, type Work } from './works.js';

export interface RoundsOptions {
  readonly rounds: number;
  readonly seconds: number;
  readonly sizeBytes: number;
}

/** The measurements of one peer in one work, a round each. */
export interface Row {
  readonly peer: Peer;
  readonly work: Work;
  readonly measurements: Measurement[];
}

/** A log grows when it is overwritten: a working set that takes more than this multiple of its size is made anew. */
const GROWTH_MAX = 6;
/** From this multiple of its size on a working set leaves the page cache while others are measured. */
const GROWN_MIN = 2;
const GROWTH_BYTES_LEAST = 6 * 2 ** 30;
/** The same work before the measurement: compilers, caches and pools settle. A share of its seconds, and at most this. */
const WARM_SHARE = 0.4;
const WARM_SECONDS_MAX = 2;
/** Rounds have small seeds: their requests are not those of the warming. */
const WARM_SEED = 1000;

/**
 * Round by round, work by work, everybody in turn, one server at a time: what disturbs the machine for a while
 * disturbs all of them alike.
 */
export class Rounds {
  readonly #bed: Bed;
  readonly #options: RoundsOptions;
  readonly #say: (text: string) => void;
  /** Peers whose working set is as the fill left it. */
  readonly #fresh = new Set<Peer>();
  readonly #filled = new Set<Peer>();

  constructor(bed: Bed, options: RoundsOptions, say: (text: string) => void) {
    this.#bed = bed;
    this.#options = options;
    this.#say = say;
  }

  async run(works: readonly Work[], peers: readonly Peer[]): Promise<Row[]> {
    const rows = works.flatMap((work) => peers.map((peer): Row => ({ peer, work, measurements: [] })));
    for (let round = 1; round <= this.#options.rounds; round += 1) {
      // Each round begins with what the one before began with.
      this.#filled.clear();
      this.#fresh.clear();
      for (const row of rows) {
        const measurement = await this.measure(row.work, row.peer, round);
        row.measurements.push(measurement);
        const figure = `${formatRate(measurement.rate)} ${row.work.unit}`;
        this.#say(`round ${round}: ${row.work.name.padEnd(14)} ${row.peer.name.padEnd(14)} ${figure.padStart(20)}`);
      }
    }
    return rows;
  }

  /** One work by one peer. Throws BenchError when anything about it is not a figure. */
  async measure(work: Work, peer: Peer, round: number): Promise<Measurement> {
    await this.#prepare(work, peer);
    const running = await peer.start(this.#bed, this.#options.sizeBytes);
    let measurement: Measurement;
    try {
      measurement = await this.#measureRunning(work, running, round);
    } finally {
      await running.stop();
    }
    await this.#bed.settle();
    // What a log has grown by would fill the machine's memory, and whoever appends next would pay for making room.
    if (peer.keepsData && this.#bed.usedBytes(peer.name) > GROWN_MIN * this.#options.sizeBytes) {
      await this.#bed.dropCaches(peer.name);
    }
    assertMeasured(measurement, peer.name, work.name);
    return measurement;
  }

  /** A filled working set, as the work wants it, with all of it in the page cache. */
  async #prepare(work: Work, peer: Peer): Promise<void> {
    if (!peer.keepsData) return;
    const isFresh = this.#fresh.has(peer);
    if (wantsFreshFill(work) ? !isFresh : !this.#filled.has(peer) || this.#grown(peer)) await this.fill(peer);
    if (!wantsFreshFill(work)) this.#fresh.delete(peer);
    await this.#bed.readThrough(peer.name);
  }

  /** Makes the working set and writes it once from beginning to end. */
  async fill(peer: Peer): Promise<void> {
    const { sizeBytes } = this.#options;
    this.#bed.emptied(peer.name);
    await this.#bed.settle();
    await this.#bed.wantSpace(2 * Math.max(GROWTH_BYTES_LEAST, GROWTH_MAX * sizeBytes), peer.name);
    await peer.create(this.#bed, sizeBytes);
    const running = await peer.start(this.#bed, sizeBytes);
    try {
      const { children, scratch } = this.#bed;
      await runFio(children, scratch, FILL, { uri: running.uri, sizeBytes, seconds: null, seed: 1 });
    } finally {
      await running.stop();
    }
    await this.#bed.settle();
    this.#fresh.add(peer);
    this.#filled.add(peer);
  }

  #grown(peer: Peer): boolean {
    const limit = Math.max(GROWTH_BYTES_LEAST, GROWTH_MAX * this.#options.sizeBytes);
    return this.#bed.usedBytes(peer.name) > limit;
  }

  async #measureRunning(work: Work, running: RunningPeer, round: number): Promise<Measurement> {
    const { seconds } = this.#options;
    const warmSeconds = Math.min(seconds * WARM_SHARE, WARM_SECONDS_MAX);
    await this.#drive(work, running, { seconds: warmSeconds, seed: WARM_SEED + round });
    const busyBefore = busySeconds() - cpuSecondsOf(process.pid);
    const startMs = performance.now();
    const cpuBefore = running.cpuSeconds();
    const figures = await this.#drive(work, running, { seconds, seed: round });
    const cpuSeconds = running.cpuSeconds() - cpuBefore;
    // Children of ours are counted with us, so the rest is somebody else's.
    const others = busySeconds() - cpuSecondsOf(process.pid) - busyBefore;
    const othersCores = Math.max(0, (others * 1000) / (performance.now() - startMs));
    const rate = work.unit === 'MiB/s' ? figures.bytesPerSecond / 2 ** 20 : figures.operationsPerSecond;
    return { rate, bytes: figures.bytes, cpuSeconds, p99Us: figures.p99Us, p999Us: figures.p999Us, othersCores };
  }

  #drive(work: Work, running: RunningPeer, run: { seconds: number; seed: number }): Promise<FioFigures> {
    const { children, scratch } = this.#bed;
    const { sizeBytes } = this.#options;
    const all = { ...run, uri: running.uri, sizeBytes };
    return work.kind === 'fio' ? runFio(children, scratch, work, all) : runFlushLoop(children, scratch, all);
  }
}

/** 182,345 or 12.3. */
export function formatRate(rate: number): string {
  return rate >= 100 ? Math.round(rate).toLocaleString('en-US') : rate.toFixed(1);
}

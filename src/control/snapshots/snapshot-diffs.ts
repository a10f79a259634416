import type { ChangedRange, ChangedRanges, LayerId, LayerSummary, VolumeHost } from '../../volume/volume-host.js';
import { ControlError, refused, stepOf } from '../control-error.js';
import type { ExportDiff, ExportDiffs } from '../exports.js';
import { DIFF_RANGES_MAX } from '../limits.js';
import type { VolumeRecord } from '../volume-record.js';
import { findPoint, nameOf, type Point, type PointSources } from './find-point.js';
import type { SnapshotRecord } from './snapshot-record.js';

export interface SnapshotDiffsDependencies extends PointSources {
  readonly host: VolumeHost;
}

/** A difference, page by page. */
export interface Difference {
  /** Size of the later side: ranges lie within it. */
  readonly sizeBytes: number;
  /** How people write both sides; '' for nothing. */
  readonly from: string;
  readonly to: string;
  readonly pages: AsyncGenerator<readonly ChangedRange[], void, void>;
}

/** What changed between two moments of a volume, or between a clone and what it was made from. */
export class SnapshotDiffs {
  readonly #dependencies: SnapshotDiffsDependencies;

  constructor(dependencies: SnapshotDiffsDependencies) {
    this.#dependencies = dependencies;
  }

  /** `from` '': against nothing. Throws when they have no history in common. */
  open(from: string, to: string): Difference {
    const later = findPoint(this.#dependencies, to);
    const earlier = from === '' ? null : findPoint(this.#dependencies, from);
    if (earlier !== null) this.#refuseUnrelated(earlier, later);
    return {
      sizeBytes: (later.snapshot ?? later.record).row.sizeBytes,
      from: earlier === null ? '' : nameOf(earlier),
      to: nameOf(later),
      pages: this.pages(earlier, later),
    };
  }

  /** The changed ranges in order; both sides are looked up anew for each page, as a head gets another layer. */
  async *pages(from: Point | null, to: Point): AsyncGenerator<readonly ChangedRange[], void, void> {
    let at: number | null = 0;
    while (at !== null) {
      const page: ChangedRanges = await this.#page(from, to, at);
      if (page.ranges.length > 0) yield page.ranges;
      at = page.nextOffsetBytes;
    }
  }

  /** What clients of an export may ask about it: its difference against each earlier snapshot of its volume. */
  ofExport(record: VolumeRecord, snapshot: SnapshotRecord | null): ExportDiffs {
    const { snapshots } = this.#dependencies;
    const earlier = (): SnapshotRecord[] =>
      snapshots.liveOf(record.id).filter(({ row }) => snapshot === null || row.layer < snapshot.row.layer);
    return {
      names: () => earlier().map(({ row }) => row.name),
      open: (name) => {
        const from = earlier().find(({ row }) => row.name === name);
        return from === undefined ? null : this.#exportDiff({ record, snapshot: from }, { record, snapshot });
      },
    };
  }

  #exportDiff(from: Point, to: Point): ExportDiff {
    return (offsetBytes, rangesMax) => this.#page(from, to, offsetBytes, rangesMax);
  }

  async #page(from: Point | null, to: Point, offsetBytes: number, rangesMax = DIFF_RANGES_MAX): Promise<ChangedRanges> {
    const { host } = this.#dependencies;
    const step = `compare ${from === null ? '' : `${nameOf(from)} with `}${nameOf(to)}`;
    for (const point of [from, to]) if (point !== null) this.#refuseGone(point);
    const fromLayer = from === null ? null : layerOf(from);
    return await stepOf(step, host.diff(fromLayer, layerOf(to), offsetBytes, rangesMax));
  }

  #refuseGone(point: Point): void {
    const { record, snapshot } = point;
    const isThere = record.row.phase === 'live' && (snapshot === null || snapshot.row.phase === 'live');
    if (isThere) return;
    throw new ControlError(`${nameOf(point)} was deleted`, {
      code: 'NOT_FOUND',
      what: snapshot === null ? 'volume' : 'snapshot',
      reference: nameOf(point),
    });
  }

  #refuseUnrelated(from: Point, to: Point): void {
    const layers = new Map(this.#dependencies.host.layers().map((layer) => [layer.layer, layer]));
    if (rootOf(layerOf(from), layers) === rootOf(layerOf(to), layers)) return;
    throw refused(
      'unrelated',
      `${nameOf(from)} and ${nameOf(to)} have no history in common: a difference is between snapshots of one volume, ` +
        `or between a clone and the volume that it was made from; \`gfs volume diff ${nameOf(to)}\` lists all of it`,
    );
  }
}

/** The layer that shows a moment of a volume. */
export function layerOf({ record, snapshot }: Point): LayerId {
  return (snapshot ?? record).row.layer as LayerId;
}

function rootOf(layer: LayerId, layers: ReadonlyMap<LayerId, LayerSummary>): LayerId {
  let at = layer;
  for (;;) {
    const parent = layers.get(at)?.parent ?? null;
    if (parent === null) return at;
    at = parent;
  }
}

import type { ExportDiff, ExportDiffs } from '../control/exports.js';
import { GALLEON_DIFF, GALLEON_DIFF_CHANGED, GALLEON_DIFF_ZERO } from '../nbd/constants.js';
import type { ExportContexts, StatusRun, StatusSource } from '../nbd/meta-contexts.js';

/** The differences of an export as metadata contexts: `galleon:diff:SNAPSHOT`. */
export function diffContexts(diffs: ExportDiffs): ExportContexts {
  return {
    names: () => diffs.names().map((name) => GALLEON_DIFF + name),
    open: (name) => {
      const diff = name.startsWith(GALLEON_DIFF) ? diffs.open(name.slice(GALLEON_DIFF.length)) : null;
      return diff === null ? null : statusOf(diff);
    },
  };
}

/** Changed ranges, and as runs of their own what lies between them. */
function statusOf(diff: ExportDiff): StatusSource {
  return async (offsetBytes, lengthBytes, runsMax) => {
    const endBytes = offsetBytes + lengthBytes;
    const { ranges, nextOffsetBytes } = await diff(offsetBytes, runsMax);
    const runs: StatusRun[] = [];
    let at = offsetBytes;
    const upTo = (toBytes: number, flags: number): void => {
      const to = Math.min(toBytes, endBytes);
      if (to <= at) return;
      runs.push({ lengthBytes: to - at, flags });
      at = to;
    };
    for (const range of ranges) {
      upTo(range.offsetBytes, 0);
      upTo(range.offsetBytes + range.lengthBytes, GALLEON_DIFF_CHANGED | (range.data ? 0 : GALLEON_DIFF_ZERO));
    }
    upTo(nextOffsetBytes ?? endBytes, 0);
    return runs;
  };
}

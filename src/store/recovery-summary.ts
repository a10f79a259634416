import type { ScanResult } from './journal/journal-scan.js';
import type { Replay } from './replay.js';

/** What a start has done, as the line that is logged. */
export function summarizeRecovery(facts: {
  /** null: there was nothing to read. */
  readonly result: ScanResult | null;
  readonly replay: Replay;
  /** Layers that are refused. */
  readonly refused: number;
  readonly ms: number;
  /** The run before it ended with a checkpoint of everything. */
  readonly clean: boolean;
  /** '' or why the map was rebuilt. */
  readonly rebuilt: string;
}): string {
  const { result, replay, refused, ms, clean, rebuilt } = facts;
  if (result === null) return `opened a new store in ${ms} ms`;
  const parts = [
    clean && replay.applied === 0 ? 'after a clean stop' : 'after a crash',
    `replayed ${result.records} records (${result.bytes} bytes) from ${result.segments.length} segments in ${ms} ms`,
    `dropped ${result.droppedRecords} records behind the torn end`,
  ];
  if (rebuilt !== '') parts.push(`rebuilt the map from the whole journal (${rebuilt})`);
  if (replay.damagedRecords > 0) parts.push(`${replay.damagedRecords} records with damaged payload`);
  if (replay.gaps > 0) parts.push(`${replay.gaps} gaps of durable records`);
  if (refused > 0) parts.push(`${refused} layers refused`);
  return parts.join('; ');
}

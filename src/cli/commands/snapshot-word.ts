import type { WordSpec } from '../option-spec.js';

/** The snapshot that a verb is about. */
export const SNAPSHOT = {
  summary: 'VOLUME@SNAPSHOT',
  required: true,
  completes: 'snapshot',
} as const satisfies WordSpec;

/** The volume, or the snapshot of one, that a verb is about. */
export const POINT = {
  summary: 'name or id, or VOLUME@SNAPSHOT',
  required: true,
  completes: 'point',
} as const satisfies WordSpec;

/** Whether the user named a snapshot and not a volume. */
export function isSnapshot(reference: string): boolean {
  return reference.includes('@');
}

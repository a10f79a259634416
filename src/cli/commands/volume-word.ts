import type { WordSpec } from '../option-spec.js';

/** The volume that a verb is about. */
export const VOLUME = { summary: 'name or id', required: true, completes: 'volume' } as const satisfies WordSpec;

import type { Figure } from './figure.js';
import { checkpointFigure } from './figures/checkpoint.js';
import { cleanerFigure } from './figures/cleaner.js';
import { idleFigure } from './figures/idle.js';
import { qosFigure } from './figures/qos.js';
import { recoveryFigure } from './figures/recovery.js';
import { scrubFigure } from './figures/scrub.js';
import { snapshotReadsFigure } from './figures/snapshot-reads.js';
import { snapshotsFigure } from './figures/snapshots.js';
import { sustainedFigure } from './figures/sustained.js';
import { terabyteFigure } from './figures/terabyte.js';
import { trimsFigure } from './figures/trims.js';
import { volumesFigure } from './figures/volumes.js';

/** What is measured beside the works, in this order. */
export const FIGURES: readonly Figure[] = [
  volumesFigure,
  recoveryFigure,
  idleFigure,
  terabyteFigure,
  checkpointFigure,
  qosFigure,
  snapshotsFigure,
  snapshotReadsFigure,
  scrubFigure,
  trimsFigure,
  cleanerFigure,
  sustainedFigure,
];

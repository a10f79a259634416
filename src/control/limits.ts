import { assert } from '../base/assert.js';
import { TRANSACTION_OPERATIONS_MAX } from '../meta/limits.js';

const MIB = 1024 * 1024;

/** Volumes of one node, retained ones included. Rows and their runtime state are kept in memory. */
export const VOLUMES_MAX = 100_000;
/** Rows changed by one transaction of a start; a row may bring its name along. */
export const ROWS_PER_TRANSACTION = 60;
/** Snapshots of one volume, and of the node; their rows are kept in memory. */
export const SNAPSHOTS_PER_VOLUME_MAX = 10_000;
export const SNAPSHOTS_MAX = 200_000;
/** Volumes that one snapshot of a group freezes together: two rows each, in one transaction. */
export const SNAPSHOT_GROUP_MAX = 48;
/** Snapshots whose space a listing asks the store about at the same time. */
export const USAGE_READS_MAX = 8;
/** How often a deletion that goes on in the store is looked at. */
export const DELETION_LOOK_MS = 1_000;
/** Ranges of one page of a difference. */
export const DIFF_RANGES_MAX = 4_096;
/** A schedule looks at the wall clock at least this often: it may have been set. */
export const SCHEDULE_LOOK_MS_MAX = 60_000;
/** Storage classes of one node. */
export const CLASSES_MAX = 1_000;
/** Policies of quality of service of one node. */
export const QOS_POLICIES_MAX = 1_000;
/** Data keys loaded (and unwrapped) at the same time at start. */
export const KEY_LOADS_MAX = 16;
/** Shortest passphrase of a recovery file, bytes: whoever has the file can guess as often as they like. */
export const RECOVERY_PASSPHRASE_BYTES_MIN = 12;
/** How long one run of a key command may be allowed to take. */
export const KEY_COMMAND_TIMEOUT_MS_MIN = 100;
export const KEY_COMMAND_TIMEOUT_MS_MAX = 600_000;
/** Data keys of one volume: one that seals new writes, and those that old blocks need. */
export const DATA_KEYS_PER_VOLUME_MAX = 1_000;
/** A reference shorter than this is never taken for a prefix of an id. */
export const ID_PREFIX_LENGTH_MIN = 4;
/** A reference longer than this is nobody's name or id. */
export const REFERENCE_LENGTH_MAX = 256;
/** Candidates that an ambiguous reference lists. */
export const CANDIDATES_SHOWN_MAX = 10;

/** Events that are kept, in memory and in the MetaStore. */
export const EVENTS_KEPT_MAX = 10_000;
/** Events that wait to be made durable; what comes beyond is counted, not kept. */
export const EVENTS_PENDING_MAX = 4_096;
/** Events of one transaction: one value of the MetaStore, at most 1 MiB. */
export const EVENTS_BATCH_MAX = 256;
/** Old batches of events deleted by the transaction that stores a new one. */
export const EVENTS_CHUNKS_DELETED_MAX = 100;
/** How long an event may wait for others to become durable together with it. */
export const EVENTS_DELAY_MS_MAX = 100;
/** Events that a slow follower may be behind before it is cut off. */
export const EVENTS_FOLLOWER_BEHIND_MAX = 10_000;
/** Text of one event. */
export const EVENT_TEXT_LENGTH_MAX = 1_000;

/** First and longest wait before something that failed is tried again. */
export const RETRY_MS_MIN = 1_000;
export const RETRY_MS_MAX = 5 * 60_000;

/** One message of image data. */
export const IMAGE_CHUNK_BYTES_MAX = MIB;
/** Image bytes under way to one volume before the sender has to wait. */
export const IMPORT_IN_FLIGHT_BYTES_MAX = 8 * MIB;
/** Imports and exports of images at once. */
export const IMAGE_TRANSFERS_MAX = 16;
/** Chunks that an image export reads ahead of its consumer. */
export const IMAGE_READS_AHEAD_MAX = 4;
/** Extents asked for in one go when an image is exported. */
export const IMAGE_EXTENTS_MAX = 1_024;

/** Fastest and slowest sampling of `volume stats`. */
export const STATS_INTERVAL_MS_MIN = 100;
export const STATS_INTERVAL_MS_MAX = 3_600_000;

/** Damaged ranges of one volume that are kept one by one; beyond it they are counted. */
export const BAD_RANGES_KEPT_MAX = 500;
/** Events about damage that one run of a scrub makes; its last event tells the sum. */
export const SCRUB_DAMAGE_EVENTS_MAX = 20;
/** Slowest and fastest rate of a scrub, bytes a second. */
export const SCRUB_RATE_MIN = 64 * 1024;
export const SCRUB_RATE_MAX = 2 ** 40;
/** How often a running scrub stores where it is. */
export const SCRUB_SAVE_MS = 10_000;
/** How often it is looked for scrubs that are due, that can go on, and for marks that are clean again. */
export const SCRUB_LOOK_MS = 60_000;
/** A scheduled scrub that failed is tried again after so long. */
export const SCRUB_RETRY_MS = 3_600_000;

/** How often it is looked for volumes whose old blocks can be sealed anew now: opened, or shared with nobody any more. */
export const RESEAL_LOOK_MS = 60_000;
/** Blocks that could not be opened are tried again after so long. */
export const RESEAL_DAMAGED_MS = 3_600_000;

/** Shares of the space for volumes at which it is said that it gets short. */
export const SPACE_LEVELS = [0.8, 0.95] as const;
/** A level is over when the share is this much below it. */
export const SPACE_LEVEL_BACK = 0.02;
/** How often it is looked how much space is left. */
export const SPACE_WATCH_MS = 10_000;

assert(2 * ROWS_PER_TRANSACTION <= TRANSACTION_OPERATIONS_MAX, 'rows and their names fit one transaction');
assert(2 * SNAPSHOT_GROUP_MAX <= TRANSACTION_OPERATIONS_MAX, 'the rows of a group snapshot fit one transaction');
assert(
  EVENTS_CHUNKS_DELETED_MAX < TRANSACTION_OPERATIONS_MAX,
  'a batch of events and what it replaces fit one transaction',
);
assert(EVENTS_BATCH_MAX <= EVENTS_PENDING_MAX, 'a batch of events fits what may wait');
assert(
  EVENTS_BATCH_MAX * (3 * EVENT_TEXT_LENGTH_MAX + REFERENCE_LENGTH_MAX + 512) < MIB,
  'a batch of events fits one value',
);
assert(EVENTS_PENDING_MAX <= EVENTS_KEPT_MAX, 'what waits is part of what is kept');
assert(IMAGE_CHUNK_BYTES_MAX <= IMPORT_IN_FLIGHT_BYTES_MAX, 'a chunk fits what may be under way');
assert(BAD_RANGES_KEPT_MAX * 1024 < MIB, 'the row of a scrub fits one value');
assert(RETRY_MS_MIN <= RETRY_MS_MAX, 'retries wait longer, not shorter');

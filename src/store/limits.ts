import { assert } from '../base/assert.js';

const MIB = 1024 * 1024;

/** Smallest and largest block of a layer, bytes. */
export const BLOCK_BYTES_MIN = 4096;
export const BLOCK_BYTES_MAX = 65536;
/** A page of the file system: durable bytes are never rewritten, so a sync closes one. */
export const PAGE_BYTES = 4096;
/** Records start at multiples of this, and the finest location unit (BLOCK_BYTES_MIN / 64) equals it. */
export const RECORD_ALIGN_BYTES = 64;
export const SEGMENT_BYTES_DEFAULT = 64 * MIB;
export const SEGMENT_BYTES_MIN = MIB;
/** 2^20 offsets of the finest unit. */
export const SEGMENT_BYTES_MAX = 64 * MIB;
/** The header page of a segment; the first record follows it. */
export const SEGMENT_HEADER_BYTES = 4096;
/** 24 bits of slot in a location. */
export const SEGMENT_SLOTS_MAX = 2 ** 24;
/** One append carries at most this many payload bytes; larger requests are continued in the next one. */
export const BATCH_BYTES_MAX = 4 * MIB;
/** A smaller batch is worth appending in the event loop's own thread. */
export const APPEND_INLINE_BYTES_MAX = 256 * 1024;
/** Extents of one record; bounds its header. */
export const RECORD_EXTENTS_MAX = 1024;
/** No record is longer; a length above it in a header is damage. */
export const RECORD_BYTES_MAX = 8 * MIB;
/** Leaves that the zero extents of one batch may touch: a millisecond or two, so that a large trim never holds the event loop. */
export const BATCH_HOLE_LEAVES_MAX = 256;
/** Steps over nothing (a leaf or a chunk of leaves each) that the trims of one batch take. */
export const BATCH_VOID_STEPS_MAX = 8192;
/** While half of the leaves that may be dirty are, trims of more than a batch get one slice in this time. */
export const HOLES_HELD_MS_MAX = 100;
/** Appended bytes not yet written back, at which appends wait. */
export const UNWRITTEN_BYTES_MAX = 256 * MIB;
/** Writeback is started each time so many bytes have come. */
export const WRITEBACK_STEP_BYTES = 4 * MIB;
/** Room that records leave at the end of a segment, so that a page can always be closed there. */
export const SEGMENT_TAIL_BYTES = 2 * PAGE_BYTES;
/** Preallocated segments that are not for data: a full disk can still be emptied, and cleaned. */
export const RESERVE_SEGMENTS = 4;
/**
 * The last of them are for starts alone. A start needs a segment of its own, because it never appends to what it found.
 * On its last one nothing is appended until there is room again, so that the next start finds it empty and takes it anew:
 * a full disk can be started on any number of times.
 */
export const OPENING_SEGMENTS = 1;
/**
 * A disk that fills up while the reserve is whole takes at least so many trims (of up to 200 leaves each) and layer verbs,
 * each of them flushed by itself. A restart with something appended since the last one costs the rest of a segment of it.
 */
export const FULL_DISK_CHANGES_MIN = 500;
/** Syncs within one segment after which the next one is worth filling with zeros ahead of use. */
export const SYNCS_FOR_ZEROS = 16;
/**
 * After so many flushes in a row that each followed one append, the next append is synced before its flush is asked for:
 * a database that commits waits for little else, and the flush finds its sync under way.
 */
export const LONE_APPENDS_MIN = 8;
/** Zeros are written in steps, so that other background work gets in between. */
export const ZERO_STEP_BYTES = MIB;
/** A store whose disk failed is reopened after so long, then after twice that, at most after the longest. */
export const REOPEN_DELAY_MS_FIRST = 500;
export const REOPEN_DELAY_MS_MAX = 30_000;
/** Damaged blocks logged one by one; beyond it every thousandth. */
export const BAD_BLOCKS_LOGGED = 200;
/** Free segments whose files are kept: their blocks were written before, and need no allocation. */
export const FREE_FILES_MAX = 2;
/** Data waits for the cleaner in steps of at least this: shorter ones are taken together. */
export const PACE_MS_LEAST = 1;
/** Longest wait before it is looked again whether data may go on. */
export const PACE_MS_MAX = 50;
/** Slowest pace, bytes a second: below it data may as well wait for a segment. */
export const PACE_RATE_LEAST = 4 * MIB;
/** Share of what the cleaner gains that data may take when no segment is left to spare; with all there it is twice the gain. */
export const PACE_SHARE_LEAST = 0.25;
/** How often moved blocks are told apart: those that stay where others die are kept together. */
export const COLD_TIERS = 2;
/** Prepared segments kept beyond the reserve. */
export const READY_SEGMENTS = 2;
/** Disk space held back for one full checkpoint of the map. No segment is made for data or trims while some is missing. */
export const MAP_RESERVE_BYTES = 64 * MIB;
/** It is given up in pieces of so much. */
export const MAP_RESERVE_STEP_BYTES = 4 * MIB;
/** The last part of it is for starts alone: they register their segment in the map, and may have to make room in memory. */
export const MAP_OPENING_BYTES = 16 * MIB;
export const JOURNAL_REPLAY_BYTES_DEFAULT = 1024 * MIB;
/** Newest bytes of the journal that stay in the page cache; more makes writes dearer where free memory is, less makes reads cold. */
export const JOURNAL_CACHE_BYTES_DEFAULT = 2048 * MIB;
export const CHECKPOINT_INTERVAL_MS_DEFAULT = 30_000;
/** Read batches with the reader threads at once; the rest waits and gathers. Far below what the addon's queue takes. */
export const READ_BATCHES_MAX = 64;
/** A start reads a page so often before it counts as unreadable. */
export const READ_ATTEMPTS_MAX = 4;
/** Segment files open at once; the rest is reopened when read. */
export const SEGMENT_FILES_OPEN_MAX = 2048;

/** Blocks per leaf of the map. */
export const LEAF_BLOCKS = 128;
/** In-memory bytes of one cached leaf: its row, 27 bytes of bookkeeping, up to 48 in the index of its layer, rounded up. */
export const CACHED_LEAF_BYTES = LEAF_BLOCKS * 8 + 80;
export const MAP_CACHE_BYTES_DEFAULT = 256 * MIB;
/** Address space of the map's database, not disk: its file grows as it is written. */
export const MAP_ADDRESS_BYTES = 2 ** 40;
/** LMDB reports a short write on a full disk as EIO; with less than this free it is taken for what it is. */
export const MAP_FULL_BELOW_BYTES = 64 * 1024;
/** How long a start's look at the map walks leaves, twice; the small rows are always walked. */
export const MAP_PROBE_LEAVES_MS = 1000;
export const MAP_PROBE_TIMEOUT_MS = 60_000;
/** Share of the cache that may be dirty before writers wait; the checkpoint starts at half of it. */
export const DIRTY_SHARE_MAX = 0.25;
/** Leaves encoded per slice of a checkpoint, so that it never holds the event loop for long. */
export const CHECKPOINT_SLICE_LEAVES = 128;
/** Leaves of one commit of a checkpoint: each costs two fsyncs, and its pages are memory until then. */
export const CHECKPOINT_COMMIT_LEAVES = 1024;
/** Leaves that a comparison of layers looks at in one turn of the event loop. */
export const COMPARISON_SLICE_LEAVES = 128;
/** Leaves that lie further apart are not of one slice. */
export const SLICE_SPAN_LEAVES = 32_768;
/** How long after an opening live bytes are counted: at once when hints may be wrong, and then once a day. */
export const RECOUNT_FIRST_MS = 10_000;
export const RECOUNT_INTERVAL_MS = 86_400_000;
/** When a count is tried again that something came between. */
export const RECOUNT_RETRY_MS = 60_000;
/** Leaves that a count looks at in one turn, and how long it stands back after them: about a tenth of the event loop is its. */
export const RECOUNT_SLICE_LEAVES = 64;
export const RECOUNT_PAUSE_MS = 20;
/** Bytes of blocks that a scrub reads at once; nothing else of it is under way meanwhile. */
export const SCRUB_BATCH_BYTES = MIB;
/** Bytes of blocks that a scrub takes from the map at once, to read them in the order of the journal. */
export const SCRUB_SLICE_BYTES = 32 * MIB;
/** How long a batch of a scrub waits for others at most: a store that always has something to do is scrubbed all the same. */
export const SCRUB_YIELD_MS_MAX = 250;
/** How often it looks whether others still wait. */
export const SCRUB_YIELD_STEP_MS = 5;
/** Bytes of blocks that are taken from the map at once to be sealed anew, while the cleaner waits. */
export const RESEAL_SLICE_BYTES = 8 * MIB;
/** What is read at once to look at block headers, and how far they may be apart for that. */
export const RESEAL_READ_BYTES = MIB;
export const RESEAL_GAP_BYTES = 32 * 1024;
/** Memory for the map of a store that is only looked at: all that a replay changes must fit, since nothing may be written. */
export const OFFLINE_CACHE_BYTES = 4096 * MIB;
/** Bytes of blocks of one record of moved ones: the addon's append thread is held for so long when they are sealed anew. */
export const MOVED_RECORD_BYTES = MIB;
/** Victims of one round of the cleaner; those of the round before wait for a checkpoint, and their space is twice in use. */
export const CLEANER_VICTIMS_MAX = 4;
/** Victims that are read at the same time: while the bytes of one are awaited, blocks of another are copied. */
export const CLEANER_LANES = 2;
/** Records of moved blocks that are being written at the same time. */
export const MOVED_WRITES_MAX = 4;
/** How often the cleaner looks whether anybody writes. */
export const CLEANER_CHECK_MS = 1000;
/** Blocks that the cleaner looks at in one turn of the event loop. */
export const CLEANER_TURN_BLOCKS = 256;
/** Leaves in which moved blocks are published in one turn. */
export const CLEANER_PUBLISH_LEAVES = 256;
/** A segment of which more is live is not worth cleaning: when space is short, and while nobody writes. */
export const LIVE_SHARE_MAX = 0.97;
export const LIVE_SHARE_IDLE_MAX = 0.83;
/** While nobody writes, the journal is cleaned down to so many times its live bytes, and so many segments. */
export const IDLE_GARBAGE_MAX = 1.2;
export const IDLE_SEGMENTS_MAX = 4;
/** Room at the end of a segment that a record header, a block and the closing of a page may leave unused. */
export const UNFILLED_BYTES_MAX = 128 * 1024;
/** A limit of the journal is at least so many segments: reserves, open ones, and some for data. */
export const CAPACITY_SEGMENTS_MIN = 16;
/** With fewer segments to spare than this share of the limit, and than this many, the cleaner works beside the writers. */
export const SPARE_SHARE = 0.02;
export const SPARE_SEGMENTS_LEAST = 3;
/** A merge that failed is tried again after so long. */
export const MERGE_RETRY_MS = 1000;
/** Leaves covered by one bit array of a layer's filter. */
export const FILTER_LEAVES = 8192;
/** More layers than lost records can have made: a snapshot every minute for two years. Ids have 32 bits. */
export const LOST_LAYERS_MAX = 2 ** 20;
/** Most blocks of one layer: 16 PiB of 4 KiB blocks. */
export const LAYER_BLOCKS_MAX = 2 ** 42;

assert(SEGMENT_BYTES_MAX <= 2 ** 20 * (BLOCK_BYTES_MIN / 64), 'a segment offset fits 20 bits of the finest unit');
assert(RECORD_ALIGN_BYTES === BLOCK_BYTES_MIN / 64, 'records align to the finest unit');
assert(
  96 + 16 * RECORD_EXTENTS_MAX + BATCH_BYTES_MAX + BATCH_BYTES_MAX / 64 + PAGE_BYTES < RECORD_BYTES_MAX,
  'a full batch fits a record',
);
assert(APPEND_INLINE_BYTES_MAX < UNWRITTEN_BYTES_MAX / 2, 'inline appends stay well below the cap');
assert(SEGMENT_HEADER_BYTES % PAGE_BYTES === 0, 'the first record starts on a page');
assert(
  OPENING_SEGMENTS >= 1 && OPENING_SEGMENTS < RESERVE_SEGMENTS,
  'starts and trims each have a part of the reserve',
);
assert(
  ((RESERVE_SEGMENTS - OPENING_SEGMENTS) * (SEGMENT_BYTES_MIN - SEGMENT_HEADER_BYTES - SEGMENT_TAIL_BYTES)) /
    PAGE_BYTES >=
    FULL_DISK_CHANGES_MIN,
  'the reserve has a page for each change that a full disk takes',
);
assert(96 + 16 * 200 <= PAGE_BYTES, 'a trim of 200 leaves fits a page');
assert(
  MAP_OPENING_BYTES < MAP_RESERVE_BYTES && MAP_OPENING_BYTES % MAP_RESERVE_STEP_BYTES === 0,
  'starts and checkpoints each have a part of the reserve',
);
assert(2 * MAP_PROBE_LEAVES_MS < MAP_PROBE_TIMEOUT_MS, 'the look at the map has time for more than leaves');
assert(LAYER_BLOCKS_MAX / LEAF_BLOCKS <= 2 ** 40, 'a leaf index fits the five bytes of its key');
assert(SCRUB_BATCH_BYTES >= BLOCK_BYTES_MAX, 'a batch of a scrub holds the largest block');
assert(
  RESEAL_SLICE_BYTES >= LEAF_BLOCKS * BLOCK_BYTES_MAX,
  'a slice of a re-sealing holds a leaf of the largest blocks',
);
assert(MOVED_RECORD_BYTES >= BLOCK_BYTES_MAX && 2 * MOVED_RECORD_BYTES < RECORD_BYTES_MAX, 'moved blocks fit a record');
assert((BLOCK_BYTES_MAX / 64) * 65 * 2 < SEGMENT_BYTES_MIN, 'the smallest segment holds the largest block');

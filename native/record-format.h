// The journal record's header, as far as the sealing kernel must know it, and every offset for those who write and
// read the rest: the addon exports these, so that they are typed once. All numbers are little endian.
//
//   offset size  meaning
//        0    4  magic "GREC"
//        4    2  version, 1
//        6    2  kind
//        8    8  stamp of the segment generation
//       16    4  header bytes: what the header CRC covers, without padding
//       20    4  record bytes: the whole record on disk
//       24    8  journal sequence
//       32    8  layer
//       40    8  layer ordinal
//       48    8  durable up to: a journal sequence
//       56    4  epoch
//       60    4  extent count
//       64    4  payload offset from the start of the record
//       68    4  log2 of the block bytes
//       72    4  CRC32C of the payload: all sealed blocks of the record, padding of each included; 0 without blocks
//       76    4  CRC32C of the header bytes, this field taken as zero
//       80   16  by kind
//       96  16n  extents: first block index (8), count (4), flags (4)
//
// The kernel reads offset 16 and fills 72 and 76; everything else is as it was given.
#pragma once

#include <cstddef>
#include <cstdint>

constexpr uint32_t RECORD_MAGIC = 0x43455247;
constexpr uint32_t RECORD_VERSION = 1;
constexpr size_t RECORD_MAGIC_AT = 0;
constexpr size_t RECORD_VERSION_AT = 4;
constexpr size_t RECORD_KIND_AT = 6;
constexpr size_t RECORD_STAMP_AT = 8;
constexpr size_t RECORD_HEADER_BYTES_AT = 16;
constexpr size_t RECORD_BYTES_AT = 20;
constexpr size_t RECORD_SEQUENCE_AT = 24;
constexpr size_t RECORD_LAYER_AT = 32;
constexpr size_t RECORD_LAYER_ORDINAL_AT = 40;
constexpr size_t RECORD_DURABLE_UP_TO_AT = 48;
constexpr size_t RECORD_EPOCH_AT = 56;
constexpr size_t RECORD_EXTENT_COUNT_AT = 60;
constexpr size_t RECORD_PAYLOAD_OFFSET_AT = 64;
constexpr size_t RECORD_BLOCK_LOG2_AT = 68;
constexpr size_t RECORD_PAYLOAD_CRC_AT = 72;
constexpr size_t RECORD_HEADER_CRC_AT = 76;
constexpr size_t RECORD_BY_KIND_AT = 80;
constexpr size_t RECORD_EXTENTS_AT = 96;
constexpr size_t RECORD_EXTENT_BYTES = 16;

// The kernel touches nothing past the header CRC, so this is all a header must have.
constexpr uint32_t RECORD_HEADER_BYTES_MIN = RECORD_HEADER_CRC_AT + 4;
// Room for 16,000 extents; one header is always held in memory whole.
constexpr uint32_t RECORD_HEADER_BYTES_MAX = 256 * 1024;

// Appends end at this border: what follows the last record up to it is written as zeros, so that the page needs not be
// read from disk first.
constexpr uint64_t APPEND_BORDER_BYTES = 4096;

// The sealed block: a header of 64 bytes and, right behind it, the ciphertext, so that one read fetches both.
// All numbers are little endian.
//
//   offset size  meaning
//        0   12  nonce: epoch (u32), counter (u64). Never used twice with one sealing key
//       12   16  tag. Encrypted: the GCM tag. Plain: CRC32C of (additional data, nonce, salt, data), then 12 zero bytes
//       28   16  session salt that the sealing key was derived with
//       44    4  data key number (u32). 0: plain
//       48    6  generation of the segment that the block lies in (u48)
//       54    1  flags. Bit 0: plain (not encrypted). All others are zero
//       55    1  log2 of the plaintext's bytes: 12 (4096) to 16 (65536)
//       56    4  stored length (u32): bytes of ciphertext that follow the header; equal to the plaintext's today
//       60    4  CRC32C of bytes 0 to 59
//       64    n  ciphertext (plain blocks: the data)
//     64+n       zeros up to storedBytes = plainBytes + plainBytes / 64
//
// Encryption is AES-256-GCM under HKDF-SHA256(data key, salt, "galleon block key v1").
// Additional data, 16 bytes: block index (u64), flags (u8), log2 (u8), two zero bytes, stored length (u32).
// The generation is not part of it: relocation rewrites it, and who reads compares it with the segment table.
//
// Valid: the CRC32C of the header is right, flags and key number agree, and the tag proves the ciphertext. The header's
// CRC32C only tells damage from a block that was never ours; it proves nothing against an attacker.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crc32c.h"
#include "little-endian.h"

constexpr size_t BLOCK_HEADER_BYTES = 64;
constexpr size_t BLOCK_NONCE_AT = 0;
constexpr size_t BLOCK_COUNTER_AT = 4;
constexpr size_t BLOCK_NONCE_BYTES = 12;
constexpr size_t BLOCK_TAG_AT = 12;
constexpr size_t BLOCK_TAG_BYTES = 16;
constexpr size_t BLOCK_SALT_AT = 28;
constexpr size_t BLOCK_SALT_BYTES = 16;
constexpr size_t BLOCK_KEY_NUMBER_AT = 44;
constexpr size_t BLOCK_GENERATION_AT = 48;
constexpr size_t BLOCK_FLAGS_AT = 54;
constexpr size_t BLOCK_LOG2_AT = 55;
constexpr size_t BLOCK_STORED_LENGTH_AT = 56;
constexpr size_t BLOCK_HEADER_CRC_AT = 60;

constexpr uint8_t BLOCK_FLAG_PLAIN = 1;
constexpr uint32_t PLAIN_KEY_NUMBER = 0;
constexpr uint32_t BLOCK_LOG2_MIN = 12;
constexpr uint32_t BLOCK_LOG2_MAX = 16;
constexpr uint32_t PLAIN_BYTES_MIN = 1u << BLOCK_LOG2_MIN;
constexpr uint32_t PLAIN_BYTES_MAX = 1u << BLOCK_LOG2_MAX;
constexpr uint64_t GENERATION_MAX = (uint64_t{1} << 48) - 1;

constexpr size_t ADDITIONAL_DATA_BYTES = 16;
constexpr size_t DATA_KEY_BYTES = 32;

// Bytes on disk of a block with this much plaintext: a multiple of plainBytes / 64, the unit that locations count in.
constexpr uint32_t storedBytesOf(uint32_t plainBytes) { return plainBytes + plainBytes / 64; }

static_assert(storedBytesOf(PLAIN_BYTES_MIN) == PLAIN_BYTES_MIN + BLOCK_HEADER_BYTES, "the smallest block has no padding");

// 12 to 16 for the block sizes that exist, 0 for every other number.
inline uint32_t blockLog2Of(uint32_t plainBytes) {
  for (uint32_t log2 = BLOCK_LOG2_MIN; log2 <= BLOCK_LOG2_MAX; log2++) {
    if (plainBytes == 1u << log2) return log2;
  }
  return 0;
}

// Sealed blocks outside of a segment are of this generation, which no segment has.
constexpr uint64_t GENERATION_NONE = 0;

// Makes a block one of a segment, its header complete: the generation is not part of what authenticates it.
inline void moveSealedBlock(uint8_t* sealed, uint64_t generation) {
  put48(sealed + BLOCK_GENERATION_AT, generation);
  put32(sealed + BLOCK_HEADER_CRC_AT, crc32c(0, sealed, BLOCK_HEADER_CRC_AT));
}

// Fills `out` (ADDITIONAL_DATA_BYTES), which binds a block to its index and its shape.
inline void makeAdditionalData(uint8_t* out, uint64_t index, uint8_t flags, uint8_t log2, uint32_t storedLength) {
  put64(out, index);
  out[8] = flags;
  out[9] = log2;
  out[10] = 0;
  out[11] = 0;
  put32(out + 12, storedLength);
}

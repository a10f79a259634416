// Seals the blocks of a batch and appends its records to a file.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "keys.h"
#include "scratch.h"

struct SealRecord {
  const uint8_t* header;
  // With alignment padding; what the header CRC covers stands in the header itself.
  uint32_t headerBytes;
  uint32_t firstBlock;
  uint32_t blockCount;
  uint32_t blockBytes;
};

struct SealBlock {
  const uint8_t* source;
  // Null: the source is a sealed block already, and is copied as it is.
  SealingKey* key;
  uint64_t index;
  uint64_t counter;
  uint32_t epoch;
};

// One append, with every pointer, number and range checked already (binding-batches.h does that).
struct SealPlan {
  std::vector<SealRecord> records;
  std::vector<SealBlock> blocks;
  // Keeps alive what `blocks` points to.
  std::vector<std::shared_ptr<SealingKey>> keys;
  uint64_t generation = 0;

  void clear() {
    records.clear();
    blocks.clear();
    keys.clear();
  }
};

// Writes one sealed block of storedBytesOf(plainBytes) to `out`. False when OpenSSL refuses.
bool sealBlock(const SealBlock& block, uint32_t plainBytes, uint64_t generation, int thread, uint8_t* out);

// Copies one sealed block of storedBytesOf(plainBytes) to `out`, as one of another segment.
void copySealedBlock(const SealBlock& block, uint32_t plainBytes, uint64_t generation, uint8_t* out);

// Lays the records out from `offset`, one after another, with zeros after the last up to the next APPEND_BORDER_BYTES
// of the file. Returns 0 or a negative errno; after a failure the range holds anything.
int sealAndAppend(int file, off_t offset, const SealPlan& plan, Scratch& scratch, int thread);

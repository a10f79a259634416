// Reads sealed blocks, proves them, and decrypts each straight to where it is wanted.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "keys.h"
#include "open-contexts.h"
#include "scratch.h"

// Row statuses; negative numbers are errnos. open-batch.ts documents them.
constexpr int32_t OPEN_OK = 0;
constexpr int32_t OPEN_MISS = 1;
constexpr int32_t OPEN_UNAUTHENTIC = 2;
constexpr int32_t OPEN_HEADER = 3;
constexpr int32_t OPEN_GENERATION = 4;
constexpr int32_t OPEN_KEY = 5;
constexpr int32_t OPEN_SHORT = 6;

// How far rows that are adjacent on disk are read together.
constexpr size_t RUN_ROWS_MAX = 64;

struct OpenRow {
  int file;
  off_t offset;
  uint8_t* destination;
  const Keyring* keyring;
  uint64_t index;
  uint64_t generation;
  uint32_t plainBytes;
  uint32_t storedBytes;
  int32_t status;
  // Which row of the caller's batch this is.
  uint32_t row;
  // The destination gets the block as it is sealed, once it is proven; of no generation. Plain blocks are refused.
  bool sealed;

  size_t destinationBytes() const { return sealed ? storedBytes : plainBytes; }
};

// A batch with every pointer, number and range checked already (binding-batches.h does that).
struct OpenPlan {
  std::vector<OpenRow> rows;
  // Keeps alive what `rows` points to.
  std::vector<std::shared_ptr<Keyring>> keyrings;

  void clear() {
    rows.clear();
    keyrings.clear();
  }
};

enum class ReadMode {
  // Only what the page cache holds.
  CACHED,
  // Waits for the disk.
  WAITING,
};

// Proves one sealed block of row.storedBytes and writes row.destinationBytes() to its destination. Returns the row's status;
// unless that is OPEN_OK the destination holds zeros: nobody may see bytes that nothing vouches for. Needs the mutex
// of `contexts`.
int32_t openBlock(const OpenRow& row, const uint8_t* sealed, OpenContexts& contexts);

// The end (exclusive) of the run that starts at `first`: rows that lie one after another in one file and fit the
// window of a Scratch together.
size_t runEnd(const std::vector<OpenRow>& rows, size_t first, size_t rowsMax);

// Reads and opens the run [first, end); sets the status of each row.
void openRun(OpenRow* first, OpenRow* end, ReadMode mode, Scratch& scratch, OpenContexts& contexts);

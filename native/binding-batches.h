// Turns the typed arrays of a batch (seal-batch.ts, open-batch.ts) into the plan of a kernel. Everything is checked here
// and copied, so that nothing that JavaScript does to the arrays later can lead a kernel astray.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "binding-arguments.h"
#include "block-format.h"
#include "engine.h"
#include "open.h"
#include "record-format.h"
#include "seal.h"

constexpr size_t RECORD_INTS = 4;
constexpr size_t BLOCK_INTS = 4;
constexpr size_t BLOCK_NUMBERS = 2;
constexpr size_t OPEN_INTS = 7;
constexpr size_t OPEN_NUMBERS = 3;
// In place of a sealing key: the source is a sealed block.
constexpr int32_t SEALED_ALREADY = 0;
// What a row of an open batch asks for.
constexpr int32_t DELIVER_PLAIN = 0;
constexpr int32_t DELIVER_SEALED = 1;
constexpr double BATCH_ROWS_MAX = 65536;

// Reused from call to call, so that a batch allocates nothing.
struct BatchMemory {
  std::vector<napi_value> values;
  std::vector<Elements<uint8_t>> arrays;
};

// Finds handles by id; a batch names few of them, many times over.
template <typename Handle>
class HandleCache {
 public:
  HandleCache(std::vector<std::shared_ptr<Handle>>& held) : held_(held) {}

  template <typename Lookup>
  Handle* find(int32_t id, Lookup lookup) {
    if (id == lastId_) return last_;
    const auto known = known_.find(id);
    if (known != known_.end()) {
      last_ = known->second;
    } else {
      std::shared_ptr<Handle> handle = lookup(id);
      if (handle == nullptr) return nullptr;
      last_ = handle.get();
      // Nearly all batches name one; the table is for those that name several.
      if (!held_.empty()) known_.emplace(id, last_);
      held_.push_back(std::move(handle));
    }
    lastId_ = id;
    return last_;
  }

 private:
  std::vector<std::shared_ptr<Handle>>& held_;
  std::unordered_map<int32_t, Handle*> known_;
  int32_t lastId_ = 0;
  Handle* last_ = nullptr;
};

namespace batches {

inline std::string row(const char* what, size_t number, const char* rule) {
  return std::string(what) + " " + std::to_string(number) + ": " + rule;
}

// Arguments from 2 on: headers, headerBytes, records, recordCount, recordBlockBytes, blockInts, blockNumbers,
// blockCount, sources, generation.
inline bool readSeal(Arguments& arguments, Engine& engine, BatchMemory& memory, SealPlan& plan) {
  plan.clear();
  arguments.elements(10, "sources", memory.values);
  const double headerBytes = arguments.integer(3, "headerBytes", 0, UINT32_MAX);
  const size_t recordCount = static_cast<size_t>(arguments.integer(5, "recordCount", 0, BATCH_ROWS_MAX));
  const size_t blockCount = static_cast<size_t>(arguments.integer(9, "blockCount", 0, BATCH_ROWS_MAX));
  plan.generation = static_cast<uint64_t>(arguments.integer(11, "generation", 0, static_cast<double>(GENERATION_MAX)));
  const Elements<uint8_t> headers = arguments.bytes(2, "headers");
  const Elements<int32_t> records = arguments.ints(4, "records");
  const Elements<int32_t> recordBlockBytes = arguments.ints(6, "recordBlockBytes");
  const Elements<int32_t> blockInts = arguments.ints(7, "blockInts");
  const Elements<double> blockNumbers = arguments.doubles(8, "blockNumbers");
  arguments.byteArrays("a source", memory.values, memory.arrays);
  if (!arguments.ok()) return false;
  if (headerBytes > static_cast<double>(headers.length) || recordCount * RECORD_INTS > records.length ||
      recordCount > recordBlockBytes.length || blockCount * BLOCK_INTS > blockInts.length ||
      blockCount * BLOCK_NUMBERS > blockNumbers.length) {
    arguments.rangeError("a count reaches past its array");
    return false;
  }

  HandleCache<SealingKey> keys(plan.keys);
  const auto lookup = [&engine](int32_t id) { return engine.sealingKey(id); };
  size_t nextBlock = 0;
  for (size_t n = 0; n < recordCount; n++) {
    const int32_t* const ints = records.data + n * RECORD_INTS;
    const double headerAt = ints[0];
    const double ownHeaderBytes = ints[1];
    const int32_t first = ints[2];
    const int32_t count = ints[3];
    if (headerAt < 0 || ownHeaderBytes < RECORD_HEADER_BYTES_MIN || ownHeaderBytes > RECORD_HEADER_BYTES_MAX ||
        headerAt + ownHeaderBytes > headerBytes) {
      arguments.rangeError(row("record", n, "its header is out of range"));
      return false;
    }
    const uint8_t* const header = headers.data + ints[0];
    const uint32_t covered = get32(header + RECORD_HEADER_BYTES_AT);
    if (covered < RECORD_HEADER_BYTES_MIN || covered > ownHeaderBytes) {
      arguments.rangeError(row("record", n, "the header says that more or less of it is covered than there can be"));
      return false;
    }
    uint32_t blockBytes = 0;
    if (count != 0) {
      blockBytes = static_cast<uint32_t>(recordBlockBytes.data[n]);
      // In order and without overlap: a block that is sealed twice would use its nonce twice.
      if (count < 0 || first < 0 || static_cast<size_t>(first) < nextBlock ||
          static_cast<size_t>(first) + static_cast<size_t>(count) > blockCount) {
        arguments.rangeError(row("record", n, "its blocks are out of range or out of order"));
        return false;
      }
      if (blockLog2Of(blockBytes) == 0) {
        arguments.rangeError(row("record", n, "there is no such block size"));
        return false;
      }
    }
    plan.records.push_back({header, static_cast<uint32_t>(ints[1]), static_cast<uint32_t>(plan.blocks.size()),
                            static_cast<uint32_t>(count), blockBytes});
    for (size_t block = static_cast<size_t>(first), end = block + static_cast<size_t>(count); count != 0 && block < end;
         block++) {
      const int32_t* const blockRow = blockInts.data + block * BLOCK_INTS;
      const double* const numbers = blockNumbers.data + block * BLOCK_NUMBERS;
      const size_t source = static_cast<size_t>(static_cast<uint32_t>(blockRow[0]));
      const double from = blockRow[1];
      const bool sealed = blockRow[2] == SEALED_ALREADY;
      const uint32_t sourceBytes = sealed ? storedBytesOf(blockBytes) : blockBytes;
      if (source >= memory.arrays.size() || from < 0 ||
          from + sourceBytes > static_cast<double>(memory.arrays[source].length)) {
        arguments.rangeError(row("block", block, "its source is out of range"));
        return false;
      }
      if (sealed) {
        plan.blocks.push_back({memory.arrays[source].data + blockRow[1], nullptr, 0, 0, 0});
        continue;
      }
      SealingKey* const key = keys.find(blockRow[2], lookup);
      if (key == nullptr) {
        arguments.rangeError(row("block", block, "there is no such sealing key"));
        return false;
      }
      if (!Arguments::isWhole(numbers[0], 0, INTEGER_MAX) || !Arguments::isWhole(numbers[1], 0, INTEGER_MAX)) {
        arguments.rangeError(row("block", block, "index or counter is out of range"));
        return false;
      }
      const uint64_t counter = static_cast<uint64_t>(numbers[1]);
      if (!key->claimCounter(counter)) {
        arguments.rangeError(row("block", block, "the counter was used before with this sealing key"));
        return false;
      }
      plan.blocks.push_back({memory.arrays[source].data + blockRow[1], key, static_cast<uint64_t>(numbers[0]), counter,
                             static_cast<uint32_t>(blockRow[3])});
    }
    if (count != 0) nextBlock = static_cast<size_t>(first) + static_cast<size_t>(count);
  }
  return true;
}

// Arguments: ints, numbers, status, count, destinations. With `onlyMisses`, only rows whose status says so.
inline bool readOpen(Arguments& arguments, Engine& engine, BatchMemory& memory, bool onlyMisses, OpenPlan& plan,
                     Elements<int32_t>& status) {
  plan.clear();
  arguments.elements(4, "destinations", memory.values);
  const size_t count = static_cast<size_t>(arguments.integer(3, "count", 0, BATCH_ROWS_MAX));
  const Elements<int32_t> ints = arguments.ints(0, "ints");
  const Elements<double> numbers = arguments.doubles(1, "numbers");
  status = arguments.ints(2, "status");
  arguments.byteArrays("a destination", memory.values, memory.arrays);
  if (!arguments.ok()) return false;
  if (count * OPEN_INTS > ints.length || count * OPEN_NUMBERS > numbers.length || count > status.length) {
    arguments.rangeError("count reaches past its arrays");
    return false;
  }

  HandleCache<Keyring> keyrings(plan.keyrings);
  const auto lookup = [&engine](int32_t id) { return engine.keyring(id); };
  for (size_t n = 0; n < count; n++) {
    if (onlyMisses && status.data[n] != OPEN_MISS) continue;
    const int32_t* const int32s = ints.data + n * OPEN_INTS;
    const double* const doubles = numbers.data + n * OPEN_NUMBERS;
    const size_t destination = static_cast<size_t>(static_cast<uint32_t>(int32s[1]));
    const double into = int32s[2];
    const uint32_t plainBytes = static_cast<uint32_t>(int32s[4]);
    const uint32_t storedBytes = static_cast<uint32_t>(int32s[5]);
    if (int32s[0] < 0) {
      arguments.rangeError(row("row", n, "there is no such file"));
      return false;
    }
    if (blockLog2Of(plainBytes) == 0 || storedBytes <= BLOCK_HEADER_BYTES || storedBytes > storedBytesOf(plainBytes)) {
      arguments.rangeError(row("row", n, "there is no such block size"));
      return false;
    }
    if (int32s[6] != DELIVER_PLAIN && int32s[6] != DELIVER_SEALED) {
      arguments.rangeError(row("row", n, "there is nothing of that kind to deliver"));
      return false;
    }
    const bool sealed = int32s[6] == DELIVER_SEALED;
    if (sealed && storedBytes != storedBytesOf(plainBytes)) {
      arguments.rangeError(row("row", n, "only a whole block is delivered as it is sealed"));
      return false;
    }
    if (destination >= memory.arrays.size() || into < 0 ||
        into + (sealed ? storedBytes : plainBytes) > static_cast<double>(memory.arrays[destination].length)) {
      arguments.rangeError(row("row", n, "its destination is out of range"));
      return false;
    }
    if (!Arguments::isWhole(doubles[0], 0, INTEGER_MAX) || !Arguments::isWhole(doubles[1], 0, INTEGER_MAX) ||
        !Arguments::isWhole(doubles[2], 0, static_cast<double>(GENERATION_MAX))) {
      arguments.rangeError(row("row", n, "offset, index or generation is out of range"));
      return false;
    }
    Keyring* const keyring = keyrings.find(int32s[3], lookup);
    if (keyring == nullptr) {
      arguments.rangeError(row("row", n, "there is no such keyring"));
      return false;
    }
    plan.rows.push_back({int32s[0], static_cast<off_t>(doubles[0]), memory.arrays[destination].data + int32s[2], keyring,
                         static_cast<uint64_t>(doubles[1]), static_cast<uint64_t>(doubles[2]), plainBytes, storedBytes,
                         OPEN_MISS, static_cast<uint32_t>(n), sealed});
  }
  return true;
}

}  // namespace batches

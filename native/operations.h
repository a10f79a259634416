// What lanes do. Each operation owns its numbers; memory that it reads or writes is kept alive by who submitted it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "open.h"
#include "seal.h"
#include "threads.h"

// Seal and append, on the append lane. status: 0 or a negative errno.
class AppendOperation final : public Operation {
 public:
  AppendOperation(int file, off_t offset) : file_(file), offset_(offset) {}
  SealPlan plan;
  Step step(LaneThread& thread) override;

 private:
  const int file_;
  const off_t offset_;
};

// Read and open, on the reader lane; several threads share the runs of one batch. Outcomes are in the plan's rows.
class OpenOperation final : public Operation {
 public:
  OpenPlan plan;
  // Splits the plan into runs, once it is complete, and says how many threads it is worth: submit it so many times.
  int prepare(int threadsMax);
  Step step(LaneThread& thread) override;

 private:
  std::vector<std::pair<size_t, size_t>> runs_;
  std::atomic<size_t> nextRun_{0};
  std::atomic<int> threads_{0};
};

// One system call on a range of a file.
class RangeOperation final : public Operation {
 public:
  enum class Kind { ALLOCATE, TRUNCATE, WRITE_BACK, DROP_CACHED, READ_AHEAD, NO_READ_AHEAD, SYNC };
  RangeOperation(Kind kind, int file, off_t offset, off_t length)
      : kind_(kind), file_(file), offset_(offset), length_(length) {}
  Step step(LaneThread& thread) override;

 private:
  const Kind kind_;
  const int file_;
  const off_t offset_;
  const off_t length_;
};

class SyncDirectoryOperation final : public Operation {
 public:
  explicit SyncDirectoryOperation(std::string path) : path_(std::move(path)) {}
  Step step(LaneThread& thread) override;

 private:
  const std::string path_;
};

// Zeros over a range, piece by piece, so that others get their turn. With `punch`: gives the range back instead, and
// writes zeros (up to the end of the file) only where the file system cannot do that.
class ZeroOperation final : public Operation {
 public:
  ZeroOperation(int file, off_t offset, off_t length, bool punch)
      : file_(file), at_(offset), end_(offset + length), punch_(punch) {}
  Step step(LaneThread& thread) override;

 private:
  const int file_;
  off_t at_;
  off_t end_;
  bool punch_;
};

class WriteOperation final : public Operation {
 public:
  WriteOperation(int file, off_t offset, const uint8_t* bytes, size_t length)
      : file_(file), at_(offset), bytes_(bytes), left_(length) {}
  Step step(LaneThread& thread) override;

 private:
  const int file_;
  off_t at_;
  const uint8_t* bytes_;
  size_t left_;
};

// status: bytes read, fewer than asked for only at the end of the file.
class ReadOperation final : public Operation {
 public:
  ReadOperation(int file, off_t offset, uint8_t* into, size_t length)
      : file_(file), at_(offset), into_(into), left_(length) {}
  Step step(LaneThread& thread) override;

 private:
  const int file_;
  off_t at_;
  uint8_t* into_;
  size_t left_;
};

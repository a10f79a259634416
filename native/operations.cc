#include "operations.h"

#include <algorithm>
#include <cerrno>

#include "engine.h"
#include "files.h"

namespace {

// Long operations stop this often to let others by, and to notice that the process ends.
constexpr size_t PIECE_BYTES = 1024 * 1024;

// Runs for waiting reads are shorter than for cached ones, so that one batch spreads over the reader threads.
constexpr size_t WAITING_RUN_ROWS_MAX = 32;

}  // namespace

Operation::Step AppendOperation::step(LaneThread& thread) {
  status = sealAndAppend(file_, offset_, plan, thread.engine.appendScratch(), SEALING_APPEND);
  return Step::FINISHED;
}

int OpenOperation::prepare(int threadsMax) {
  const size_t share = (plan.rows.size() + static_cast<size_t>(threadsMax) - 1) / static_cast<size_t>(threadsMax);
  const size_t rowsMax = std::clamp<size_t>(share, 4, WAITING_RUN_ROWS_MAX);
  for (size_t first = 0; first < plan.rows.size();) {
    const size_t end = runEnd(plan.rows, first, rowsMax);
    runs_.emplace_back(first, end);
    first = end;
  }
  // A batch without misses still needs one, to say so.
  const int threads = static_cast<int>(std::clamp<size_t>(runs_.size(), 1, static_cast<size_t>(threadsMax)));
  threads_.store(threads);
  return threads;
}

Operation::Step OpenOperation::step(LaneThread& thread) {
  Scratch& scratch = thread.engine.readerScratch(thread.number);
  OpenContexts& contexts = thread.engine.readerContexts(thread.number);
  for (;;) {
    const size_t run = nextRun_.fetch_add(1);
    if (run >= runs_.size()) break;
    OpenRow* const rows = plan.rows.data();
    openRun(rows + runs_[run].first, rows + runs_[run].second, ReadMode::WAITING, scratch, contexts);
  }
  // Whoever leaves last has seen every row done.
  return threads_.fetch_sub(1) == 1 ? Step::FINISHED : Step::SHARED;
}

Operation::Step RangeOperation::step(LaneThread&) {
  switch (kind_) {
    case Kind::ALLOCATE: status = allocateRange(file_, offset_, length_); break;
    case Kind::TRUNCATE: status = truncateFile(file_, length_); break;
    case Kind::WRITE_BACK: status = writeBack(file_, offset_, length_); break;
    case Kind::DROP_CACHED: status = dropCached(file_, offset_, length_); break;
    case Kind::READ_AHEAD: status = readAhead(file_, offset_, length_); break;
    case Kind::NO_READ_AHEAD: status = forbidReadAhead(file_); break;
    case Kind::SYNC: status = syncData(file_); break;
  }
  return Step::FINISHED;
}

Operation::Step SyncDirectoryOperation::step(LaneThread&) {
  status = syncDirectory(path_.c_str());
  return Step::FINISHED;
}

Operation::Step ZeroOperation::step(LaneThread&) {
  if (punch_) {
    status = punchRange(file_, at_, end_ - at_);
    if (status != -EOPNOTSUPP) return Step::FINISHED;
    const off_t bytes = fileBytes(file_);
    if (bytes < 0) {
      status = bytes;
      return Step::FINISHED;
    }
    end_ = std::min(end_, bytes);
    punch_ = false;
  }
  status = 0;
  if (at_ >= end_) return Step::FINISHED;
  const off_t piece = std::min<off_t>(end_ - at_, PIECE_BYTES);
  status = writeZeros(file_, at_, static_cast<size_t>(piece));
  at_ += piece;
  return status != 0 || at_ >= end_ ? Step::FINISHED : Step::AGAIN;
}

Operation::Step WriteOperation::step(LaneThread&) {
  const size_t piece = std::min(left_, PIECE_BYTES);
  status = writeFully(file_, at_, bytes_, piece);
  at_ += static_cast<off_t>(piece);
  bytes_ += piece;
  left_ -= piece;
  return status != 0 || left_ == 0 ? Step::FINISHED : Step::AGAIN;
}

Operation::Step ReadOperation::step(LaneThread&) {
  const size_t piece = std::min(left_, PIECE_BYTES);
  const ssize_t got = readFully(file_, at_, into_, piece);
  if (got < 0) {
    status = got;
    return Step::FINISHED;
  }
  status += got;
  at_ += got;
  into_ += got;
  left_ -= static_cast<size_t>(got);
  return static_cast<size_t>(got) < piece || left_ == 0 ? Step::FINISHED : Step::AGAIN;
}

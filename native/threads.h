// A lane: a bounded queue of operations and the threads that work it off. Lanes are apart so that a slow fdatasync
// never stands in front of a read.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

class Engine;

// Where a lane's thread finds its own memory; `reader` counts within the reader lane.
struct LaneThread {
  Engine& engine;
  int number;
};

// Something that a lane does. Made, kept and freed by who submits it; a lane only ever borrows it.
class Operation {
 public:
  virtual ~Operation() = default;

  enum class Step {
    // Done: report it.
    FINISHED,
    // A piece is done; go on after what waits behind.
    AGAIN,
    // Another thread has it, too, and will report it.
    SHARED,
  };
  virtual Step step(LaneThread& thread) = 0;

  // The outcome for the caller: a count, 0, or a negative errno. Read after FINISHED.
  int64_t status = 0;
  // The submitter's own.
  void* token = nullptr;
};

// Told about finished operations, on a lane's thread.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  virtual void finished(Operation* operation) = 0;
};

class Lane {
 public:
  Lane(Engine& engine, const char* name, int threadsMax, size_t queueMax, CompletionSink& sink);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Queues the operation `times` over (for SHARED ones). 0; -EAGAIN when the queue has no room; another negative errno
  // when the system gives no thread; then nothing was queued.
  int submit(Operation* operation, int times = 1);

  // Ends the threads after the step each is in; what is queued is never begun. Waits for them. Idempotent.
  void stop();

  int threadsMax() const { return threadsMax_; }

 private:
  struct Thread {
    Lane* lane;
    int number;
    pthread_t id;
  };

  static void* enter(void* thread);
  void work(int number);
  int startThread();

  Engine& engine_;
  const std::string name_;
  const int threadsMax_;
  const size_t queueMax_;
  CompletionSink& sink_;

  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Operation*> queue_;
  std::vector<Thread*> threads_;
  int idle_ = 0;
  bool stopping_ = false;
};

#include "threads.h"

#include <signal.h>

#include <cerrno>

Lane::Lane(Engine& engine, const char* name, int threadsMax, size_t queueMax, CompletionSink& sink)
    : engine_(engine), name_(name), threadsMax_(threadsMax), queueMax_(queueMax), sink_(sink) {}

Lane::~Lane() { stop(); }

int Lane::submit(Operation* operation, int times) {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    if (stopping_) return -ECANCELED;
    if (queue_.size() + static_cast<size_t>(times) > queueMax_) return -EAGAIN;
    // Threads start when they are first needed: most processes that load the addon never need them.
    int wanted = times - idle_ + static_cast<int>(queue_.size());
    while (wanted-- > 0 && static_cast<int>(threads_.size()) < threadsMax_) {
      const int status = startThread();
      if (status == 0) continue;
      if (threads_.empty()) return status;
      break;
    }
    for (int n = 0; n < times; n++) queue_.push_back(operation);
  }
  // Without the lock: a thread that is woken into one has to be put to sleep and woken again.
  if (times == 1) {
    arrived_.notify_one();
  } else {
    arrived_.notify_all();
  }
  return 0;
}

void Lane::stop() {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    stopping_ = true;
    queue_.clear();
  }
  arrived_.notify_all();
  // Nobody adds threads once stopping_ is set, so the list is ours.
  for (Thread* thread : threads_) {
    pthread_join(thread->id, nullptr);
    delete thread;
  }
  threads_.clear();
}

int Lane::startThread() {
  Thread* thread = new Thread{this, static_cast<int>(threads_.size()), {}};
  // Signals belong to the main thread; a new thread inherits this mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int status = pthread_create(&thread->id, nullptr, enter, thread);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (status != 0) {
    delete thread;
    return -status;
  }
  pthread_setname_np(thread->id, name_.c_str());
  threads_.push_back(thread);
  return 0;
}

void* Lane::enter(void* argument) {
  const Thread* thread = static_cast<Thread*>(argument);
  thread->lane->work(thread->number);
  return nullptr;
}

void Lane::work(int number) {
  LaneThread self{engine_, number};
  std::unique_lock<std::mutex> hold(mutex_);
  for (;;) {
    idle_++;
    arrived_.wait(hold, [this] { return stopping_ || !queue_.empty(); });
    idle_--;
    if (stopping_) return;
    Operation* operation = queue_.front();
    queue_.pop_front();
    hold.unlock();
    const Operation::Step step = operation->step(self);
    // From here on a finished operation is not ours to look at.
    if (step == Operation::Step::FINISHED) sink_.finished(operation);
    hold.lock();
    if (step == Operation::Step::AGAIN && !stopping_) queue_.push_back(operation);
  }
}

// Everything that one environment (a Node thread that loaded the addon) owns: keys, lanes, and each thread's memory.
// Nothing here is global, so two environments never meet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "keys.h"
#include "open-contexts.h"
#include "scratch.h"
#include "secret-memory.h"
#include "threads.h"

constexpr int READER_THREADS = 4;
// Callers bound what they have in flight far below this; it is here so that a mistake is an error and not a swamp.
constexpr size_t LANE_QUEUE_MAX = 4096;

class Engine {
 public:
  explicit Engine(CompletionSink& sink);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Ends all threads and waits for the step each is in. Idempotent; also called when the process exits, because
  // OpenSSL cleans up after itself then, and no thread may still be using it.
  void stop();

  // Ids count up and are never used again. 0 when there are none left.
  int32_t createKeyring(bool allowPlain);
  std::shared_ptr<Keyring> keyring(int32_t id) const;
  bool releaseKeyring(int32_t id);

  int32_t addSealingKey(std::shared_ptr<SealingKey> key);
  std::shared_ptr<SealingKey> sealingKey(int32_t id) const;
  bool releaseSealingKey(int32_t id);

  Lane& appendLane() { return appendLane_; }
  Lane& syncLane() { return syncLane_; }
  // Waits for the disk most of the time: the moves of the cleaner and what is prepared for appends must not wait behind it.
  Lane& writebackLane() { return writebackLane_; }
  Lane& backgroundLane() { return backgroundLane_; }
  Lane& readerLane() { return readerLane_; }

  Scratch& mainScratch() { return mainScratch_; }
  Scratch& appendScratch() { return appendScratch_; }
  Scratch& readerScratch(int reader) { return readerScratch_[reader]; }
  OpenContexts& mainContexts() { return mainContexts_; }
  OpenContexts& readerContexts(int reader) { return readerContexts_[reader]; }

 private:
  int32_t takeId();

  // Declared in this order because they are destroyed in reverse: threads first, keys before what they live in.
  SecretMemory secrets_;
  OpenContexts mainContexts_;
  OpenContexts readerContexts_[READER_THREADS];
  Scratch mainScratch_;
  Scratch appendScratch_;
  Scratch readerScratch_[READER_THREADS];
  std::unordered_map<int32_t, std::shared_ptr<Keyring>> keyrings_;
  std::unordered_map<int32_t, std::shared_ptr<SealingKey>> sealingKeys_;
  int32_t lastId_ = 0;
  Lane appendLane_;
  Lane syncLane_;
  Lane writebackLane_;
  Lane backgroundLane_;
  Lane readerLane_;
};

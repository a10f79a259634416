#include "engine.h"

#include <cstdlib>
#include <mutex>
#include <unordered_set>
#include <utility>

namespace {

// process.exit() ends a process without tearing environments down: exit handlers run while our threads do. The
// registry is for that moment only. It is never freed, so that it outlives every static destructor.
struct LiveEngines {
  std::mutex mutex;
  std::unordered_set<Engine*> engines;

  static LiveEngines& get() {
    static LiveEngines* const live = [] {
      LiveEngines* made = new LiveEngines();
      // Handlers run in reverse order: OpenSSL's was registered when Node started, so this one comes before it.
      (void)std::atexit([] { get().stopAll(); });
      return made;
    }();
    return *live;
  }

  void stopAll() {
    std::lock_guard<std::mutex> hold(mutex);
    for (Engine* engine : engines) engine->stop();
  }
};

}  // namespace

Engine::Engine(CompletionSink& sink)
    : appendLane_(*this, "gfs-append", 1, LANE_QUEUE_MAX, sink),
      syncLane_(*this, "gfs-sync", 1, LANE_QUEUE_MAX, sink),
      writebackLane_(*this, "gfs-writeback", 1, LANE_QUEUE_MAX, sink),
      backgroundLane_(*this, "gfs-background", 1, LANE_QUEUE_MAX, sink),
      readerLane_(*this, "gfs-reader", READER_THREADS, LANE_QUEUE_MAX, sink) {
  LiveEngines& live = LiveEngines::get();
  std::lock_guard<std::mutex> hold(live.mutex);
  live.engines.insert(this);
}

Engine::~Engine() {
  {
    LiveEngines& live = LiveEngines::get();
    std::lock_guard<std::mutex> hold(live.mutex);
    live.engines.erase(this);
  }
  stop();
}

void Engine::stop() {
  appendLane_.stop();
  syncLane_.stop();
  writebackLane_.stop();
  backgroundLane_.stop();
  readerLane_.stop();
}

int32_t Engine::takeId() {
  if (lastId_ == INT32_MAX) return 0;
  return ++lastId_;
}

int32_t Engine::createKeyring(bool allowPlain) {
  const int32_t id = takeId();
  if (id == 0) return 0;
  // Whoever lets go of the keyring last (an operation in flight may) wipes what was derived from it, too.
  const auto wipe = [this](Keyring* keyring) {
    const uint64_t serial = keyring->serial();
    delete keyring;
    mainContexts_.forget(serial);
    for (OpenContexts& contexts : readerContexts_) contexts.forget(serial);
  };
  keyrings_.emplace(id, std::shared_ptr<Keyring>(new Keyring(secrets_, static_cast<uint64_t>(id), allowPlain), wipe));
  return id;
}

std::shared_ptr<Keyring> Engine::keyring(int32_t id) const {
  const auto found = keyrings_.find(id);
  return found == keyrings_.end() ? nullptr : found->second;
}

bool Engine::releaseKeyring(int32_t id) { return keyrings_.erase(id) == 1; }

int32_t Engine::addSealingKey(std::shared_ptr<SealingKey> key) {
  const int32_t id = takeId();
  if (id != 0) sealingKeys_.emplace(id, std::move(key));
  return id;
}

std::shared_ptr<SealingKey> Engine::sealingKey(int32_t id) const {
  const auto found = sealingKeys_.find(id);
  return found == sealingKeys_.end() ? nullptr : found->second;
}

bool Engine::releaseSealingKey(int32_t id) { return sealingKeys_.erase(id) == 1; }

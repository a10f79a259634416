// Memory for keys: pages of their own, kept out of swap and out of core dumps where the system allows it, wiped on
// release. Both protections are best effort: RLIMIT_MEMLOCK is small on many machines, and a daemon that refuses to
// start because of it would help nobody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

class SecretMemory {
 public:
  static constexpr size_t SLOT_BYTES = 32;

  SecretMemory() = default;
  ~SecretMemory();
  SecretMemory(const SecretMemory&) = delete;
  SecretMemory& operator=(const SecretMemory&) = delete;

  // A zeroed slot of SLOT_BYTES, or null when the system gives no memory.
  uint8_t* acquire();
  // Wipes the slot and takes it back.
  void release(uint8_t* slot);

 private:
  static constexpr size_t PAGE_BYTES = 16 * 1024;

  std::mutex mutex_;
  std::vector<uint8_t*> pages_;
  std::vector<uint8_t*> free_;
};

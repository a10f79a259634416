// Derived contexts for opening, one set per thread. Salts change with every start of the daemon, so a volume's blocks
// name many; deriving costs some microseconds, which a hot path of three per block cannot pay each time.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <mutex>

#include "keys.h"

class OpenContexts {
 public:
  OpenContexts() = default;
  ~OpenContexts();
  OpenContexts(const OpenContexts&) = delete;
  OpenContexts& operator=(const OpenContexts&) = delete;

  // Held by the thread while it opens blocks; another thread only ever takes it to forget a keyring.
  std::mutex& mutex() { return mutex_; }

  enum class Found { OK, UNKNOWN_KEY, FAILED };
  // The context that opens blocks of (keyring, number, salt), derived if need be. Needs mutex().
  Found find(const Keyring& keyring, uint32_t number, const uint8_t* salt, EVP_CIPHER_CTX** context);

  // Wipes everything derived from the keyring.
  void forget(uint64_t keyringSerial);

 private:
  struct Entry {
    uint64_t keyringSerial = 0;
    uint32_t number = 0;
    uint8_t salt[BLOCK_SALT_BYTES] = {};
    uint64_t usedAt = 0;
    EVP_CIPHER_CTX* context = nullptr;

    bool matches(uint64_t serial, uint32_t wanted, const uint8_t* wantedSalt) const;
  };

  // 64 sets of 4: bounded, and found without a list to keep.
  static constexpr size_t SETS = 64;
  static constexpr size_t WAYS = 4;

  std::mutex mutex_;
  Entry entries_[SETS][WAYS];
  uint64_t clock_ = 0;
};

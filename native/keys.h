// Data keys, and the AES-256-GCM contexts that seal under keys derived from them.
#pragma once

#include <openssl/evp.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "block-format.h"
#include "secret-memory.h"

// Threads that seal have a context each: a context holds the state of one operation at a time.
constexpr int SEALING_THREADS = 2;
constexpr int SEALING_MAIN = 0;
constexpr int SEALING_APPEND = 1;

// HKDF-SHA256 (RFC 5869) of one output block: `out` gets 32 bytes. False when OpenSSL refuses.
bool deriveBlockKey(const uint8_t* dataKey, const uint8_t* salt, uint8_t* out);

// The data keys that blocks of one volume may have been sealed with. Shared between threads.
class Keyring {
 public:
  // `serial` is never used twice in a process, so that derived contexts can be told apart.
  Keyring(SecretMemory& memory, uint64_t serial, bool allowPlain);
  ~Keyring();
  Keyring(const Keyring&) = delete;
  Keyring& operator=(const Keyring&) = delete;

  uint64_t serial() const { return serial_; }
  bool allowPlain() const { return allowPlain_; }
  enum class Added { OK, EXISTS, FULL };
  Added add(uint32_t number, const uint8_t* dataKey);
  // Derives the block key of (number, salt) into `out`. False when the number is unknown (or OpenSSL refuses).
  bool derive(uint32_t number, const uint8_t* salt, uint8_t* out) const;
  bool holds(uint32_t number) const;

 private:
  static constexpr size_t KEYS_MAX = 65536;
  SecretMemory& memory_;
  const uint64_t serial_;
  const bool allowPlain_;
  mutable std::mutex mutex_;
  std::unordered_map<uint32_t, uint8_t*> keys_;
};

// One data key bound to one session's salt, for sealing.
class SealingKey {
 public:
  SealingKey(uint32_t number, const uint8_t* salt);
  ~SealingKey();
  SealingKey(const SealingKey&) = delete;
  SealingKey& operator=(const SealingKey&) = delete;

  // Sets up the contexts; false when OpenSSL refuses. Not called for plain keys.
  bool setKey(const uint8_t* blockKey);

  bool plain() const { return number_ == PLAIN_KEY_NUMBER; }
  uint32_t number() const { return number_; }
  const uint8_t* salt() const { return salt_; }
  EVP_CIPHER_CTX* context(int thread) const { return contexts_[thread]; }

  // Takes a nonce counter for use. False when it was passed already: counters of a sealing key only grow, whatever
  // the caller believes, because one repeated (key, nonce) pair gives the plaintext away. Main thread only.
  bool claimCounter(uint64_t counter);

 private:
  const uint32_t number_;
  uint8_t salt_[BLOCK_SALT_BYTES];
  uint64_t nextCounter_ = 0;
  EVP_CIPHER_CTX* contexts_[SEALING_THREADS] = {};
};

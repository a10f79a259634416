#include "keys.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <cstring>

namespace {

// RFC 5869's info and the counter byte of its first (here: only) output block.
constexpr uint8_t INFO_AND_COUNTER[] = "galleon block key v1\x01";
constexpr size_t INFO_AND_COUNTER_BYTES = sizeof INFO_AND_COUNTER - 1;

}  // namespace

bool deriveBlockKey(const uint8_t* dataKey, const uint8_t* salt, uint8_t* out) {
  uint8_t pseudoRandomKey[32];
  unsigned length = 0;
  const bool extracted =
      HMAC(EVP_sha256(), salt, BLOCK_SALT_BYTES, dataKey, DATA_KEY_BYTES, pseudoRandomKey, &length) != nullptr &&
      length == sizeof pseudoRandomKey;
  const bool expanded = extracted && HMAC(EVP_sha256(), pseudoRandomKey, sizeof pseudoRandomKey, INFO_AND_COUNTER,
                                          INFO_AND_COUNTER_BYTES, out, &length) != nullptr;
  OPENSSL_cleanse(pseudoRandomKey, sizeof pseudoRandomKey);
  return expanded && length == DATA_KEY_BYTES;
}

Keyring::Keyring(SecretMemory& memory, uint64_t serial, bool allowPlain)
    : memory_(memory), serial_(serial), allowPlain_(allowPlain) {}

Keyring::~Keyring() {
  for (const auto& [number, slot] : keys_) memory_.release(slot);
}

Keyring::Added Keyring::add(uint32_t number, const uint8_t* dataKey) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (keys_.count(number) != 0) return Added::EXISTS;
  if (keys_.size() >= KEYS_MAX) return Added::FULL;
  uint8_t* slot = memory_.acquire();
  if (slot == nullptr) return Added::FULL;
  memcpy(slot, dataKey, DATA_KEY_BYTES);
  keys_.emplace(number, slot);
  return Added::OK;
}

bool Keyring::derive(uint32_t number, const uint8_t* salt, uint8_t* out) const {
  std::lock_guard<std::mutex> hold(mutex_);
  const auto found = keys_.find(number);
  return found != keys_.end() && deriveBlockKey(found->second, salt, out);
}

bool Keyring::holds(uint32_t number) const {
  std::lock_guard<std::mutex> hold(mutex_);
  return keys_.count(number) != 0;
}

SealingKey::SealingKey(uint32_t number, const uint8_t* salt) : number_(number) {
  memcpy(salt_, salt, BLOCK_SALT_BYTES);
}

SealingKey::~SealingKey() {
  // Frees with a wipe of the key schedule.
  for (EVP_CIPHER_CTX* context : contexts_) EVP_CIPHER_CTX_free(context);
}

bool SealingKey::setKey(const uint8_t* blockKey) {
  for (EVP_CIPHER_CTX*& context : contexts_) {
    context = EVP_CIPHER_CTX_new();
    if (context == nullptr) return false;
    if (EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nullptr, blockKey, nullptr) != 1) return false;
  }
  return true;
}

bool SealingKey::claimCounter(uint64_t counter) {
  if (counter < nextCounter_) return false;
  nextCounter_ = counter + 1;
  return true;
}

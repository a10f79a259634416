#include "open-contexts.h"

#include <openssl/crypto.h>

#include <cstring>

#include "little-endian.h"

bool OpenContexts::Entry::matches(uint64_t serial, uint32_t wanted, const uint8_t* wantedSalt) const {
  return context != nullptr && keyringSerial == serial && number == wanted &&
         memcmp(salt, wantedSalt, BLOCK_SALT_BYTES) == 0;
}

OpenContexts::~OpenContexts() {
  for (auto& set : entries_) {
    for (Entry& entry : set) EVP_CIPHER_CTX_free(entry.context);
  }
}

OpenContexts::Found OpenContexts::find(const Keyring& keyring, uint32_t number, const uint8_t* salt,
                                       EVP_CIPHER_CTX** context) {
  // Salts are random, so they spread by themselves; the multiplier spreads the two small numbers.
  const uint64_t spread = get64(salt) ^ (keyring.serial() * 0x9e3779b97f4a7c15u) ^ (uint64_t{number} << 17);
  Entry* const set = entries_[(spread ^ spread >> 32) % SETS];
  clock_++;
  Entry* oldest = set;
  for (Entry* entry = set; entry < set + WAYS; entry++) {
    if (entry->matches(keyring.serial(), number, salt)) {
      entry->usedAt = clock_;
      *context = entry->context;
      return Found::OK;
    }
    if (entry->usedAt < oldest->usedAt) oldest = entry;
  }

  if (!keyring.holds(number)) return Found::UNKNOWN_KEY;
  uint8_t blockKey[DATA_KEY_BYTES];
  EVP_CIPHER_CTX* fresh = EVP_CIPHER_CTX_new();
  const bool made = fresh != nullptr && keyring.derive(number, salt, blockKey) &&
                    EVP_DecryptInit_ex(fresh, EVP_aes_256_gcm(), nullptr, blockKey, nullptr) == 1;
  OPENSSL_cleanse(blockKey, sizeof blockKey);
  if (!made) {
    EVP_CIPHER_CTX_free(fresh);
    return Found::FAILED;
  }
  EVP_CIPHER_CTX_free(oldest->context);
  oldest->keyringSerial = keyring.serial();
  oldest->number = number;
  memcpy(oldest->salt, salt, BLOCK_SALT_BYTES);
  oldest->usedAt = clock_;
  oldest->context = fresh;
  *context = fresh;
  return Found::OK;
}

void OpenContexts::forget(uint64_t keyringSerial) {
  std::lock_guard<std::mutex> hold(mutex_);
  for (auto& set : entries_) {
    for (Entry& entry : set) {
      if (entry.context == nullptr || entry.keyringSerial != keyringSerial) continue;
      EVP_CIPHER_CTX_free(entry.context);
      entry = Entry();
    }
  }
}

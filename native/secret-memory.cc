#include "secret-memory.h"

#include <openssl/crypto.h>
#include <sys/mman.h>

SecretMemory::~SecretMemory() {
  for (uint8_t* page : pages_) {
    OPENSSL_cleanse(page, PAGE_BYTES);
    munmap(page, PAGE_BYTES);
  }
}

uint8_t* SecretMemory::acquire() {
  std::lock_guard<std::mutex> hold(mutex_);
  if (free_.empty()) {
    void* page = mmap(nullptr, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return nullptr;
    (void)mlock(page, PAGE_BYTES);
    (void)madvise(page, PAGE_BYTES, MADV_DONTDUMP);
    uint8_t* bytes = static_cast<uint8_t*>(page);
    pages_.push_back(bytes);
    for (size_t at = 0; at < PAGE_BYTES; at += SLOT_BYTES) free_.push_back(bytes + at);
  }
  uint8_t* slot = free_.back();
  free_.pop_back();
  return slot;
}

void SecretMemory::release(uint8_t* slot) {
  OPENSSL_cleanse(slot, SLOT_BYTES);
  std::lock_guard<std::mutex> hold(mutex_);
  free_.push_back(slot);
}

#include "scratch.h"

#include <sys/mman.h>

Scratch::~Scratch() {
  if (memory_ != nullptr) munmap(memory_, WINDOW_BYTES + HEADER_BYTES);
}

uint8_t* Scratch::window() {
  if (memory_ == nullptr) {
    void* memory =
        mmap(nullptr, WINDOW_BYTES + HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return nullptr;
    memory_ = static_cast<uint8_t*>(memory);
  }
  return memory_;
}

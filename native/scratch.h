// One thread's reused staging memory. Page aligned, taken on first use, kept until the thread ends: the first touch of
// a page costs more than sealing what goes into it.
#pragma once

#include <cstddef>
#include <cstdint>

class Scratch {
 public:
  // Small enough to stay in the second level cache between sealing (or reading) and what follows; larger appends and
  // reads pass through it in pieces.
  static constexpr size_t WINDOW_BYTES = 512 * 1024;
  // Behind the window: one record header that left it before its checksums were known.
  static constexpr size_t HEADER_BYTES = 256 * 1024;

  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  // WINDOW_BYTES of memory, or null when the system gives none.
  uint8_t* window();
  // HEADER_BYTES of memory; only after window() gave memory.
  uint8_t* header() { return memory_ + WINDOW_BYTES; }

 private:
  uint8_t* memory_ = nullptr;
};

#include "crc32c.h"

#include <atomic>

#include "little-endian.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC32C_X86 1
#endif

namespace {

constexpr uint32_t POLYNOMIAL_REFLECTED = 0x82f63b78;

// The instruction answers after three cycles but starts a new one in each, so three streams run side by side. A 4 KiB
// block with its header is 3 * 1360 + 80 bytes.
constexpr size_t LONG_STREAM_BYTES = 1360;
constexpr size_t SHORT_STREAM_BYTES = 128;

struct Tables {
  // bytes[k][b]: what byte b does to the state when k zero bytes follow it (slicing by eight).
  uint32_t bytes[8][256];
  // Moves a state past LONG_STREAM_BYTES or SHORT_STREAM_BYTES of zeros, one table per byte of the state.
  uint32_t pastLong[4][256];
  uint32_t pastShort[4][256];

  Tables() {
    for (uint32_t byte = 0; byte < 256; byte++) {
      uint32_t state = byte;
      for (int bit = 0; bit < 8; bit++) state = (state >> 1) ^ ((state & 1) ? POLYNOMIAL_REFLECTED : 0);
      bytes[0][byte] = state;
    }
    for (int k = 1; k < 8; k++) {
      for (int byte = 0; byte < 256; byte++) {
        const uint32_t before = bytes[k - 1][byte];
        bytes[k][byte] = (before >> 8) ^ bytes[0][before & 0xff];
      }
    }
    fillPast(pastLong, LONG_STREAM_BYTES);
    fillPast(pastShort, SHORT_STREAM_BYTES);
  }

 private:
  // The state is linear over its bits: know where each of the 32 goes, and every state is a sum of those.
  void fillPast(uint32_t (&past)[4][256], size_t zeros) const {
    uint32_t ofBit[32];
    for (int bit = 0; bit < 32; bit++) {
      uint32_t state = 1u << bit;
      for (size_t n = 0; n < zeros; n++) state = (state >> 8) ^ bytes[0][state & 0xff];
      ofBit[bit] = state;
    }
    for (int place = 0; place < 4; place++) {
      for (int byte = 0; byte < 256; byte++) {
        uint32_t sum = 0;
        for (int bit = 0; bit < 8; bit++) {
          if (byte & (1 << bit)) sum ^= ofBit[8 * place + bit];
        }
        past[place][byte] = sum;
      }
    }
  }
};

const Tables tables;

uint32_t softwareUpdate(uint32_t state, const uint8_t* bytes, size_t length) {
  while (length >= 8) {
    const uint32_t low = get32(bytes) ^ state;
    const uint32_t high = get32(bytes + 4);
    state = tables.bytes[7][low & 0xff] ^ tables.bytes[6][(low >> 8) & 0xff] ^ tables.bytes[5][(low >> 16) & 0xff] ^
            tables.bytes[4][low >> 24] ^ tables.bytes[3][high & 0xff] ^ tables.bytes[2][(high >> 8) & 0xff] ^
            tables.bytes[1][(high >> 16) & 0xff] ^ tables.bytes[0][high >> 24];
    bytes += 8;
    length -= 8;
  }
  while (length-- > 0) state = (state >> 8) ^ tables.bytes[0][(state ^ *bytes++) & 0xff];
  return state;
}

#ifdef CRC32C_X86

inline uint32_t shiftPast(const uint32_t (&past)[4][256], uint32_t state) {
  return past[0][state & 0xff] ^ past[1][(state >> 8) & 0xff] ^ past[2][(state >> 16) & 0xff] ^ past[3][state >> 24];
}

__attribute__((target("sse4.2"))) uint32_t threeStreams(uint32_t state, const uint8_t* bytes, size_t streamBytes,
                                                        const uint32_t (&past)[4][256]) {
  uint64_t first = state;
  uint64_t second = 0;
  uint64_t third = 0;
  for (size_t at = 0; at < streamBytes; at += 8) {
    first = _mm_crc32_u64(first, get64(bytes + at));
    second = _mm_crc32_u64(second, get64(bytes + streamBytes + at));
    third = _mm_crc32_u64(third, get64(bytes + 2 * streamBytes + at));
  }
  const uint32_t joined = shiftPast(past, static_cast<uint32_t>(first)) ^ static_cast<uint32_t>(second);
  return shiftPast(past, joined) ^ static_cast<uint32_t>(third);
}

__attribute__((target("sse4.2"))) uint32_t hardwareUpdate(uint32_t state, const uint8_t* bytes, size_t length) {
  while (length >= 3 * LONG_STREAM_BYTES) {
    state = threeStreams(state, bytes, LONG_STREAM_BYTES, tables.pastLong);
    bytes += 3 * LONG_STREAM_BYTES;
    length -= 3 * LONG_STREAM_BYTES;
  }
  while (length >= 3 * SHORT_STREAM_BYTES) {
    state = threeStreams(state, bytes, SHORT_STREAM_BYTES, tables.pastShort);
    bytes += 3 * SHORT_STREAM_BYTES;
    length -= 3 * SHORT_STREAM_BYTES;
  }
  uint64_t wide = state;
  for (; length >= 8; bytes += 8, length -= 8) wide = _mm_crc32_u64(wide, get64(bytes));
  state = static_cast<uint32_t>(wide);
  for (; length > 0; bytes++, length--) state = _mm_crc32_u8(state, *bytes);
  return state;
}

bool machineHasInstruction() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("sse4.2") != 0;
}

#else

uint32_t hardwareUpdate(uint32_t state, const uint8_t* bytes, size_t length) {
  return softwareUpdate(state, bytes, length);
}

bool machineHasInstruction() { return false; }

#endif

std::atomic<bool> useHardware{machineHasInstruction()};

}  // namespace

uint32_t crc32c(uint32_t seed, const uint8_t* bytes, size_t length) {
  const uint32_t state = ~seed;
  return useHardware.load(std::memory_order_relaxed) ? ~hardwareUpdate(state, bytes, length)
                                                      : ~softwareUpdate(state, bytes, length);
}

bool crc32cUsesHardware() { return useHardware.load(std::memory_order_relaxed); }

void crc32cAllowHardware(bool allow) { useHardware.store(allow && machineHasInstruction()); }

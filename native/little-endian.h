// Little-endian numbers in byte arrays, whatever the byte order and alignment rules of the machine.
#pragma once

#include <cstdint>
#include <cstring>

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
inline uint32_t littleEndian32(uint32_t value) { return __builtin_bswap32(value); }
inline uint64_t littleEndian64(uint64_t value) { return __builtin_bswap64(value); }
#else
inline uint32_t littleEndian32(uint32_t value) { return value; }
inline uint64_t littleEndian64(uint64_t value) { return value; }
#endif

inline void put32(uint8_t* at, uint32_t value) {
  value = littleEndian32(value);
  memcpy(at, &value, sizeof value);
}

inline void put48(uint8_t* at, uint64_t value) {
  value = littleEndian64(value);
  memcpy(at, &value, 6);
}

inline void put64(uint8_t* at, uint64_t value) {
  value = littleEndian64(value);
  memcpy(at, &value, sizeof value);
}

inline uint32_t get32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return littleEndian32(value);
}

inline uint64_t get48(const uint8_t* at) {
  uint64_t value = 0;
  memcpy(&value, at, 6);
  return littleEndian64(value);
}

inline uint64_t get64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return littleEndian64(value);
}

// CRC32C (Castagnoli polynomial 0x1EDC6F41, reflected), as RFC 3720 appendix B.4 has it.
#pragma once

#include <cstddef>
#include <cstdint>

// The checksum of `length` bytes, continuing from `seed`: the checksum of what came before, 0 to start.
uint32_t crc32c(uint32_t seed, const uint8_t* bytes, size_t length);

// Whether the processor's own instruction is in use.
bool crc32cUsesHardware();

// For tests and measurements: `false` takes the table path although the machine could do better; `true` goes back to
// what the machine has. Not to be called while other threads compute.
void crc32cAllowHardware(bool allow);

// System calls on files, repeated where the system may answer in part. Each returns 0 (or a count) or a negative errno.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

int writeFully(int file, off_t offset, const uint8_t* bytes, size_t length);

// Bytes read; fewer than `length` only at the end of the file.
ssize_t readFully(int file, off_t offset, uint8_t* into, size_t length);

// What the page cache holds from `offset` on without a gap, without waiting. -EAGAIN when that is nothing, and also
// where the file system cannot tell.
ssize_t readCached(int file, off_t offset, uint8_t* into, size_t length);

// Zeros over [offset, offset + length).
int writeZeros(int file, off_t offset, size_t length);

// Reserves disk space; the file grows if need be.
int allocateRange(int file, off_t offset, off_t length);

// Gives a range back; it reads as zeros after. -EOPNOTSUPP where the file system cannot.
int punchRange(int file, off_t offset, off_t length);

int truncateFile(int file, off_t length);
int syncData(int file);
int syncDirectory(const char* path);

// Writes back the dirty pages of a range and waits. The kernel reports a failed write once per descriptor, here or at
// the next fdatasync: a failure here counts as one there.
int writeBack(int file, off_t offset, off_t length);

int dropCached(int file, off_t offset, off_t length);
int readAhead(int file, off_t offset, off_t length);

// From now on a read through this descriptor brings in the pages it asks for and no others.
int forbidReadAhead(int file);
off_t fileBytes(int file);

// An exclusive lock that ends with the descriptor. -EWOULDBLOCK when someone else holds it.
int lockExclusively(int file);

// A new descriptor, closed on exec, for the same open file.
int duplicateDescriptor(int file);

#include "files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace {

constexpr size_t ZEROS_BYTES = 256 * 1024;
// Never written to; static memory that was never touched is the kernel's one zero page.
alignas(4096) const uint8_t ZEROS[ZEROS_BYTES] = {};

// Repeats a call that answers 0 or -1 while signals interrupt it.
template <typename Call>
int repeated(Call call) {
  int status;
  do {
    status = call();
  } while (status < 0 && errno == EINTR);
  return status < 0 ? -errno : 0;
}

}  // namespace

int writeFully(int file, off_t offset, const uint8_t* bytes, size_t length) {
  while (length > 0) {
    const ssize_t written = pwrite(file, bytes, length, offset);
    if (written < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    // Regular files answer a positive count or an error; nothing at all would repeat for ever.
    if (written == 0) return -EIO;
    bytes += written;
    offset += written;
    length -= static_cast<size_t>(written);
  }
  return 0;
}

ssize_t readFully(int file, off_t offset, uint8_t* into, size_t length) {
  size_t got = 0;
  while (got < length) {
    const ssize_t count = pread(file, into + got, length - got, offset + static_cast<off_t>(got));
    if (count < 0) {
      if (errno == EINTR) continue;
      return -errno;
    }
    if (count == 0) break;
    got += static_cast<size_t>(count);
  }
  return static_cast<ssize_t>(got);
}

ssize_t readCached(int file, off_t offset, uint8_t* into, size_t length) {
#ifdef RWF_NOWAIT
  struct iovec part = {into, length};
  for (;;) {
    const ssize_t count = preadv2(file, &part, 1, offset, RWF_NOWAIT);
    if (count >= 0) return count;
    if (errno == EINTR) continue;
    // An old kernel or a file system without the flag: everything is a miss, slower and right.
    if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL) return -EAGAIN;
    return -errno;
  }
#else
  (void)file, (void)offset, (void)into, (void)length;
  return -EAGAIN;
#endif
}

int writeZeros(int file, off_t offset, size_t length) {
  while (length > 0) {
    const size_t piece = std::min(length, ZEROS_BYTES);
    const int status = writeFully(file, offset, ZEROS, piece);
    if (status != 0) return status;
    offset += static_cast<off_t>(piece);
    length -= piece;
  }
  return 0;
}

int allocateRange(int file, off_t offset, off_t length) {
  int status;
  do {
    // The library's, not the system call: it makes do where the file system has no such thing.
    status = posix_fallocate(file, offset, length);
  } while (status == EINTR);
  return -status;
}

int punchRange(int file, off_t offset, off_t length) {
  return repeated([&] { return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length); });
}

int truncateFile(int file, off_t length) {
  return repeated([&] { return ftruncate(file, length); });
}

int syncData(int file) {
  return repeated([&] { return fdatasync(file); });
}

int syncDirectory(const char* path) {
  int directory;
  do {
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  } while (directory < 0 && errno == EINTR);
  if (directory < 0) return -errno;
  const int status = repeated([&] { return fsync(directory); });
  close(directory);
  return status;
}

int writeBack(int file, off_t offset, off_t length) {
  const unsigned flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const int status = repeated([&] { return sync_file_range(file, offset, length, flags); });
  // Some systems have no such call; it only ever smooths.
  return status == -ENOSYS || status == -EOPNOTSUPP ? 0 : status;
}

int dropCached(int file, off_t offset, off_t length) {
  return -posix_fadvise(file, offset, length, POSIX_FADV_DONTNEED);
}

int readAhead(int file, off_t offset, off_t length) {
  // Of one call Linux takes no more than read_ahead_kb or max_sectors_kb of the disk, and never less than this where it
  // matters.
  constexpr off_t kStep = 1024 * 1024;
  for (off_t done = 0; done < length; done += kStep) {
    const int failure = posix_fadvise(file, offset + done, std::min(kStep, length - done), POSIX_FADV_WILLNEED);
    if (failure != 0) return -failure;
  }
  return 0;
}

int forbidReadAhead(int file) {
  return -posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM);
}

off_t fileBytes(int file) {
  struct stat facts;
  if (fstat(file, &facts) != 0) return -errno;
  return facts.st_size;
}

int lockExclusively(int file) {
  return repeated([&] { return flock(file, LOCK_EX | LOCK_NB); });
}

int duplicateDescriptor(int file) {
  const int copy = fcntl(file, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? -errno : copy;
}

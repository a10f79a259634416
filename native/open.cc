#include "open.h"

#include <openssl/crypto.h>

#include <cerrno>
#include <cstring>

#include "block-format.h"
#include "crc32c.h"
#include "files.h"

static_assert(storedBytesOf(PLAIN_BYTES_MAX) <= Scratch::WINDOW_BYTES, "one block fits the window");

namespace {

int32_t checkHeader(const OpenRow& row, const uint8_t* sealed) {
  if (get32(sealed + BLOCK_HEADER_CRC_AT) != crc32c(0, sealed, BLOCK_HEADER_CRC_AT)) return OPEN_HEADER;
  if (get48(sealed + BLOCK_GENERATION_AT) != row.generation) return OPEN_GENERATION;
  const uint8_t flags = sealed[BLOCK_FLAGS_AT];
  const bool plain = (flags & BLOCK_FLAG_PLAIN) != 0;
  if ((flags & ~BLOCK_FLAG_PLAIN) != 0) return OPEN_HEADER;
  if (plain != (get32(sealed + BLOCK_KEY_NUMBER_AT) == PLAIN_KEY_NUMBER)) return OPEN_HEADER;
  if (plain && (row.sealed || !row.keyring->allowPlain())) return OPEN_KEY;
  const uint32_t storedLength = get32(sealed + BLOCK_STORED_LENGTH_AT);
  if (sealed[BLOCK_LOG2_AT] != blockLog2Of(row.plainBytes) || storedLength != row.plainBytes) return OPEN_HEADER;
  if (BLOCK_HEADER_BYTES + storedLength > row.storedBytes) return OPEN_HEADER;
  return OPEN_OK;
}

int32_t openPlain(const OpenRow& row, const uint8_t* sealed, const uint8_t* additional) {
  static constexpr uint8_t NO_TAG[BLOCK_TAG_BYTES - 4] = {};
  const uint8_t* const data = sealed + BLOCK_HEADER_BYTES;
  uint32_t crc = crc32c(0, additional, ADDITIONAL_DATA_BYTES);
  crc = crc32c(crc, sealed + BLOCK_NONCE_AT, BLOCK_NONCE_BYTES);
  crc = crc32c(crc, sealed + BLOCK_SALT_AT, BLOCK_SALT_BYTES);
  crc = crc32c(crc, data, row.plainBytes);
  if (crc != get32(sealed + BLOCK_TAG_AT)) return OPEN_UNAUTHENTIC;
  if (memcmp(sealed + BLOCK_TAG_AT + 4, NO_TAG, sizeof NO_TAG) != 0) return OPEN_UNAUTHENTIC;
  memcpy(row.destination, data, row.plainBytes);
  return OPEN_OK;
}

int32_t openEncrypted(const OpenRow& row, const uint8_t* sealed, const uint8_t* additional, OpenContexts& contexts) {
  EVP_CIPHER_CTX* context = nullptr;
  switch (contexts.find(*row.keyring, get32(sealed + BLOCK_KEY_NUMBER_AT), sealed + BLOCK_SALT_AT, &context)) {
    case OpenContexts::Found::OK: break;
    case OpenContexts::Found::UNKNOWN_KEY: return OPEN_KEY;
    case OpenContexts::Found::FAILED: return -ENOMEM;
  }
  // OpenSSL takes the expected tag through a pointer to bytes that it may change.
  uint8_t tag[BLOCK_TAG_BYTES];
  memcpy(tag, sealed + BLOCK_TAG_AT, sizeof tag);
  int written = 0;
  const bool proven =
      EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, sealed + BLOCK_NONCE_AT) == 1 &&
      EVP_DecryptUpdate(context, nullptr, &written, additional, ADDITIONAL_DATA_BYTES) == 1 &&
      EVP_DecryptUpdate(context, row.destination, &written, sealed + BLOCK_HEADER_BYTES,
                        static_cast<int>(row.plainBytes)) == 1 &&
      written == static_cast<int>(row.plainBytes) &&
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, BLOCK_TAG_BYTES, tag) == 1 &&
      EVP_DecryptFinal_ex(context, row.destination + written, &written) == 1;
  return proven ? OPEN_OK : OPEN_UNAUTHENTIC;
}

size_t runBytes(const OpenRow* first, const OpenRow* end) {
  const OpenRow& last = end[-1];
  return static_cast<size_t>(last.offset - first->offset) + last.storedBytes;
}

}  // namespace

int32_t openBlock(const OpenRow& row, const uint8_t* sealed, OpenContexts& contexts) {
  int32_t status = checkHeader(row, sealed);
  if (status == OPEN_OK) {
    uint8_t additional[ADDITIONAL_DATA_BYTES];
    makeAdditionalData(additional, row.index, sealed[BLOCK_FLAGS_AT], sealed[BLOCK_LOG2_AT],
                       get32(sealed + BLOCK_STORED_LENGTH_AT));
    status = (sealed[BLOCK_FLAGS_AT] & BLOCK_FLAG_PLAIN) != 0 ? openPlain(row, sealed, additional)
                                                               : openEncrypted(row, sealed, additional, contexts);
  }
  if (status != OPEN_OK) {
    memset(row.destination, 0, row.destinationBytes());
  } else if (row.sealed) {
    memcpy(row.destination, sealed, row.storedBytes);
    moveSealedBlock(row.destination, GENERATION_NONE);
  }
  return status;
}

size_t runEnd(const std::vector<OpenRow>& rows, size_t first, size_t rowsMax) {
  size_t bytes = rows[first].storedBytes;
  size_t end = first + 1;
  for (; end < rows.size() && end - first < rowsMax; end++) {
    const OpenRow& before = rows[end - 1];
    const OpenRow& row = rows[end];
    if (row.file != before.file || row.offset != before.offset + static_cast<off_t>(before.storedBytes)) break;
    bytes += row.storedBytes;
    if (bytes > Scratch::WINDOW_BYTES) break;
  }
  return end;
}

void openRun(OpenRow* first, OpenRow* end, ReadMode mode, Scratch& scratch, OpenContexts& contexts) {
  uint8_t* const memory = scratch.window();
  const size_t wanted = runBytes(first, end);
  ssize_t got = -ENOMEM;
  // A run that is longer than runEnd() makes them is a mistake of ours, and must not become one of memory.
  if (memory != nullptr && wanted <= Scratch::WINDOW_BYTES) {
    got = mode == ReadMode::CACHED ? readCached(first->file, first->offset, memory, wanted)
                                   : readFully(first->file, first->offset, memory, wanted);
  }
  if (got < 0 && got != -EAGAIN && mode == ReadMode::WAITING && end - first > 1) {
    // One bad sector must not take its neighbours with it.
    for (OpenRow* row = first; row < end; row++) openRun(row, row + 1, mode, scratch, contexts);
    return;
  }
  std::lock_guard<std::mutex> hold(contexts.mutex());
  const uint8_t* sealed = memory;
  for (OpenRow* row = first; row < end; row++) {
    const ssize_t upTo = sealed - memory + static_cast<ssize_t>(row->storedBytes);
    if (got >= upTo) {
      row->status = openBlock(*row, sealed, contexts);
    } else if (mode == ReadMode::CACHED && (got >= 0 || got == -EAGAIN)) {
      // Not cached, or past the end of the file: the waiting read tells the two apart.
      row->status = OPEN_MISS;
    } else {
      row->status = got < 0 ? static_cast<int32_t>(got) : OPEN_SHORT;
      memset(row->destination, 0, row->destinationBytes());
    }
    sealed += row->storedBytes;
  }
}

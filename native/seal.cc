#include "seal.h"

#include <cerrno>
#include <cstring>

#include "block-format.h"
#include "crc32c.h"
#include "files.h"
#include "record-format.h"

static_assert(RECORD_HEADER_BYTES_MAX <= Scratch::HEADER_BYTES, "one header fits beside the window");
static_assert(RECORD_HEADER_BYTES_MAX + APPEND_BORDER_BYTES <= Scratch::WINDOW_BYTES, "one header fits the window");
static_assert(storedBytesOf(PLAIN_BYTES_MAX) <= Scratch::WINDOW_BYTES, "one block fits the window");

namespace {

// What was laid out and not yet written. Large appends leave in pieces, so that staging memory is bounded and sealing
// stays within the cache.
class AppendWindow {
 public:
  AppendWindow(int file, off_t offset, uint8_t* memory) : file_(file), offset_(offset), memory_(memory) {}

  // Room for `bytes` at the end of the append; null after a failed write.
  uint8_t* reserve(size_t bytes) {
    if (filled_ + bytes > Scratch::WINDOW_BYTES && !flush()) return nullptr;
    uint8_t* at = memory_ + filled_;
    filled_ += bytes;
    return at;
  }

  bool flush() {
    if (status_ == 0) status_ = writeFully(file_, offset_, memory_, filled_);
    offset_ += static_cast<off_t>(filled_);
    filled_ = 0;
    flushes_++;
    return status_ == 0;
  }

  off_t end() const { return offset_ + static_cast<off_t>(filled_); }
  unsigned flushes() const { return flushes_; }
  int status() const { return status_; }

 private:
  const int file_;
  off_t offset_;
  uint8_t* const memory_;
  size_t filled_ = 0;
  unsigned flushes_ = 0;
  int status_ = 0;
};

bool encrypt(EVP_CIPHER_CTX* context, const uint8_t* additional, const uint8_t* plain, uint32_t plainBytes,
             uint8_t* header, uint8_t* out) {
  int written = 0;
  // No key here: that would cost a key schedule per block.
  return EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, header + BLOCK_NONCE_AT) == 1 &&
         EVP_EncryptUpdate(context, nullptr, &written, additional, ADDITIONAL_DATA_BYTES) == 1 &&
         EVP_EncryptUpdate(context, out, &written, plain, static_cast<int>(plainBytes)) == 1 &&
         written == static_cast<int>(plainBytes) && EVP_EncryptFinal_ex(context, out + written, &written) == 1 &&
         EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, BLOCK_TAG_BYTES, header + BLOCK_TAG_AT) == 1;
}

// Fills in the two checksums. `header` is the record's, complete but for them. False when it says that more of it is
// covered than there is.
bool finishRecordHeader(uint8_t* header, uint32_t headerBytes, uint32_t payloadCrc) {
  const uint32_t covered = get32(header + RECORD_HEADER_BYTES_AT);
  if (covered < RECORD_HEADER_BYTES_MIN || covered > headerBytes) return false;
  put32(header + RECORD_PAYLOAD_CRC_AT, payloadCrc);
  put32(header + RECORD_HEADER_CRC_AT, 0);
  put32(header + RECORD_HEADER_CRC_AT, crc32c(0, header, covered));
  return true;
}

int appendRecord(int file, const SealPlan& plan, const SealRecord& record, AppendWindow& window, Scratch& scratch,
                 int thread) {
  uint8_t* header = window.reserve(record.headerBytes);
  if (header == nullptr) return window.status();
  memcpy(header, record.header, record.headerBytes);
  const off_t headerAt = window.end() - static_cast<off_t>(record.headerBytes);
  const unsigned flushesBefore = window.flushes();

  const uint32_t storedBytes = storedBytesOf(record.blockBytes);
  uint32_t payloadCrc = 0;
  for (uint32_t n = 0; n < record.blockCount; n++) {
    uint8_t* out = window.reserve(storedBytes);
    if (out == nullptr) return window.status();
    const SealBlock& block = plan.blocks[record.firstBlock + n];
    if (block.key == nullptr) {
      copySealedBlock(block, record.blockBytes, plan.generation, out);
    } else if (!sealBlock(block, record.blockBytes, plan.generation, thread, out)) {
      return -EIO;
    }
    payloadCrc = crc32c(payloadCrc, out, storedBytes);
  }

  if (window.flushes() == flushesBefore) {
    return finishRecordHeader(header, record.headerBytes, payloadCrc) ? 0 : -EINVAL;
  }
  // The header left with an earlier piece, its checksums unknown and therefore wrong: write it once more. Until that
  // is done the record is not valid, which is what a crash in between should leave.
  header = scratch.header();
  memcpy(header, record.header, record.headerBytes);
  if (!finishRecordHeader(header, record.headerBytes, payloadCrc)) return -EINVAL;
  return writeFully(file, headerAt, header, record.headerBytes);
}

}  // namespace

bool sealBlock(const SealBlock& block, uint32_t plainBytes, uint64_t generation, int thread, uint8_t* out) {
  const SealingKey& key = *block.key;
  const uint8_t flags = key.plain() ? BLOCK_FLAG_PLAIN : 0;
  const uint8_t log2 = static_cast<uint8_t>(blockLog2Of(plainBytes));
  put32(out + BLOCK_NONCE_AT, block.epoch);
  put64(out + BLOCK_COUNTER_AT, block.counter);
  memcpy(out + BLOCK_SALT_AT, key.salt(), BLOCK_SALT_BYTES);
  put32(out + BLOCK_KEY_NUMBER_AT, key.number());
  out[BLOCK_FLAGS_AT] = flags;
  out[BLOCK_LOG2_AT] = log2;
  put32(out + BLOCK_STORED_LENGTH_AT, plainBytes);

  uint8_t additional[ADDITIONAL_DATA_BYTES];
  makeAdditionalData(additional, block.index, flags, log2, plainBytes);
  uint8_t* const data = out + BLOCK_HEADER_BYTES;
  if (key.plain()) {
    // Copied first and summed after: the source may change meanwhile, the copy may not.
    memcpy(data, block.source, plainBytes);
    uint32_t crc = crc32c(0, additional, sizeof additional);
    crc = crc32c(crc, out + BLOCK_NONCE_AT, BLOCK_NONCE_BYTES);
    crc = crc32c(crc, out + BLOCK_SALT_AT, BLOCK_SALT_BYTES);
    crc = crc32c(crc, data, plainBytes);
    memset(out + BLOCK_TAG_AT, 0, BLOCK_TAG_BYTES);
    put32(out + BLOCK_TAG_AT, crc);
  } else if (!encrypt(key.context(thread), additional, block.source, plainBytes, out, data)) {
    return false;
  }
  moveSealedBlock(out, generation);
  memset(data + plainBytes, 0, storedBytesOf(plainBytes) - BLOCK_HEADER_BYTES - plainBytes);
  return true;
}

void copySealedBlock(const SealBlock& block, uint32_t plainBytes, uint64_t generation, uint8_t* out) {
  memcpy(out, block.source, storedBytesOf(plainBytes));
  moveSealedBlock(out, generation);
}

int sealAndAppend(int file, off_t offset, const SealPlan& plan, Scratch& scratch, int thread) {
  uint8_t* const memory = scratch.window();
  if (memory == nullptr) return -ENOMEM;
  AppendWindow window(file, offset, memory);
  for (const SealRecord& record : plan.records) {
    const int status = appendRecord(file, plan, record, window, scratch, thread);
    if (status != 0) return status;
  }
  const uint64_t over = static_cast<uint64_t>(window.end()) % APPEND_BORDER_BYTES;
  if (over != 0 && !plan.records.empty()) {
    const size_t zeros = APPEND_BORDER_BYTES - over;
    uint8_t* out = window.reserve(zeros);
    if (out == nullptr) return window.status();
    memset(out, 0, zeros);
  }
  window.flush();
  return window.status();
}

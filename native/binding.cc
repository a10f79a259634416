// The addon's face to JavaScript: checks every argument, then hands over to the kernels. Nothing here decides anything
// about data, and nothing outside this file and its binding-*.h headers knows of N-API. src/io/addon.ts is its twin.
#include <napi.h>

#include <openssl/crypto.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>

#include "binding-arguments.h"
#include "binding-batches.h"
#include "binding-completions.h"
#include "binding-constants.h"
#include "crc32c.h"
#include "engine.h"
#include "files.h"
#include "operations.h"
#include "systemd-notify.h"

namespace {

// One per environment that loaded the addon.
class Addon {
 public:
  explicit Addon(napi_env env) : engine_(completions_) { opened_ = completions_.open(env); }
  ~Addon() { stop(); }

  // Before the environment goes: after this no thread touches memory of JavaScript.
  void stop() {
    engine_.stop();
    completions_.close();
  }

  bool opened() const { return opened_; }
  Engine& engine() { return engine_; }
  Completions& completions() { return completions_; }

  // Reused by calls that are over when they return.
  BatchMemory batchMemory;
  SealPlan sealPlan;
  OpenPlan openPlan;

 private:
  // The engine's threads report to `completions_`, so that is destroyed last; but its flights hold keys that live in the
  // engine, so stop() lets go of those before.
  Completions completions_;
  Engine engine_;
  bool opened_ = false;
};

Addon& addonOf(const Napi::CallbackInfo& info) { return *info.Env().GetInstanceData<Addon>(); }

Napi::Value number(const Napi::CallbackInfo& info, double value) { return Napi::Number::New(info.Env(), value); }
Napi::Value undefined(const Napi::CallbackInfo& info) { return info.Env().Undefined(); }

// [callback, ...what must live until it is called]
napi_value hold(napi_env env, napi_value callback, std::initializer_list<napi_value> few,
                const std::vector<napi_value>* many = nullptr) {
  napi_value held = nullptr;
  uint32_t at = 0;
  napi_create_array_with_length(env, 1 + few.size() + (many == nullptr ? 0 : many->size()), &held);
  napi_set_element(env, held, at++, callback);
  for (napi_value value : few) napi_set_element(env, held, at++, value);
  if (many != nullptr) {
    for (napi_value value : *many) napi_set_element(env, held, at++, value);
  }
  return held;
}

// ---- checksums

Napi::Value crc32cOf(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "crc32c");
  const Elements<uint8_t> bytes = arguments.slice(0, "bytes");
  const uint32_t seed = static_cast<uint32_t>(arguments.integer(3, "seed", 0, UINT32_MAX));
  if (!arguments.ok()) return undefined(info);
  return number(info, crc32c(seed, bytes.data, bytes.length));
}

Napi::Value isZero(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "isZero");
  const Elements<uint8_t> bytes = arguments.slice(0, "bytes");
  if (!arguments.ok()) return undefined(info);
  // Bytes equal to their own shift by one, and the first zero: all zero. The library compares as fast as memory gives.
  const bool zero =
      bytes.length == 0 || (bytes.data[0] == 0 && memcmp(bytes.data, bytes.data + 1, bytes.length - 1) == 0);
  return Napi::Boolean::New(info.Env(), zero);
}

Napi::Value allowHardwareChecksums(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "allowHardwareChecksums");
  const bool allow = arguments.boolean(0, "allow");
  if (!arguments.ok()) return undefined(info);
  crc32cAllowHardware(allow);
  return Napi::Boolean::New(info.Env(), crc32cUsesHardware());
}

// ---- keys

Napi::Value createKeyring(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "createKeyring");
  const bool allowPlain = arguments.boolean(0, "allowPlain");
  if (!arguments.ok()) return undefined(info);
  const int32_t id = addonOf(info).engine().createKeyring(allowPlain);
  if (id == 0) arguments.rangeError("no ids left");
  return number(info, id);
}

std::shared_ptr<Keyring> keyringAt(Arguments& arguments, Engine& engine, size_t at) {
  const int32_t id = static_cast<int32_t>(arguments.integer(at, "keyring", 1, INT32_MAX));
  std::shared_ptr<Keyring> keyring = engine.keyring(id);
  if (keyring == nullptr) arguments.rangeError("there is no such keyring");
  return keyring;
}

Napi::Value addDataKey(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "addDataKey");
  const std::shared_ptr<Keyring> keyring = keyringAt(arguments, addonOf(info).engine(), 0);
  const uint32_t keyNumber = static_cast<uint32_t>(arguments.integer(1, "number", 1, UINT32_MAX));
  const Elements<uint8_t> dataKey = arguments.bytes(2, "dataKey");
  if (arguments.ok() && dataKey.length != DATA_KEY_BYTES) arguments.rangeError("a data key has 32 bytes");
  if (!arguments.ok()) return undefined(info);
  switch (keyring->add(keyNumber, dataKey.data)) {
    case Keyring::Added::OK: break;
    case Keyring::Added::EXISTS: arguments.rangeError("the keyring holds a key with this number"); break;
    case Keyring::Added::FULL: arguments.rangeError("there is no room for another key"); break;
  }
  return undefined(info);
}

Napi::Value releaseKeyring(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "releaseKeyring");
  const int32_t id = static_cast<int32_t>(arguments.integer(0, "keyring", 1, INT32_MAX));
  if (arguments.ok() && !addonOf(info).engine().releaseKeyring(id)) arguments.rangeError("there is no such keyring");
  return undefined(info);
}

Napi::Value createSealingKey(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "createSealingKey");
  Engine& engine = addonOf(info).engine();
  const std::shared_ptr<Keyring> keyring = keyringAt(arguments, engine, 0);
  const uint32_t keyNumber = static_cast<uint32_t>(arguments.integer(1, "number", 0, UINT32_MAX));
  const Elements<uint8_t> salt = arguments.bytes(2, "salt");
  if (arguments.ok() && salt.length != BLOCK_SALT_BYTES) arguments.rangeError("a salt has 16 bytes");
  if (!arguments.ok()) return undefined(info);

  auto key = std::make_shared<SealingKey>(keyNumber, salt.data);
  if (keyNumber == PLAIN_KEY_NUMBER) {
    if (!keyring->allowPlain()) arguments.rangeError("the keyring allows no plain blocks");
  } else if (!keyring->holds(keyNumber)) {
    arguments.rangeError("the keyring holds no such key");
  } else {
    uint8_t blockKey[DATA_KEY_BYTES];
    if (!keyring->derive(keyNumber, salt.data, blockKey) || !key->setKey(blockKey)) {
      arguments.rangeError("OpenSSL refuses the key");
    }
    OPENSSL_cleanse(blockKey, sizeof blockKey);
  }
  if (!arguments.ok()) return undefined(info);
  const int32_t id = engine.addSealingKey(std::move(key));
  if (id == 0) arguments.rangeError("no ids left");
  return number(info, id);
}

Napi::Value releaseSealingKey(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "releaseSealingKey");
  const int32_t id = static_cast<int32_t>(arguments.integer(0, "key", 1, INT32_MAX));
  if (arguments.ok() && !addonOf(info).engine().releaseSealingKey(id)) arguments.rangeError("there is no such sealing key");
  return undefined(info);
}

// keyring, bytes, blockBytes, first: how many of the sealed blocks in `bytes` are proven, up to the first that is not.
Napi::Value proveSealed(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "proveSealed");
  Engine& engine = addonOf(info).engine();
  const std::shared_ptr<Keyring> keyring = keyringAt(arguments, engine, 0);
  const Elements<uint8_t> bytes = arguments.bytes(1, "bytes");
  const uint32_t plainBytes = static_cast<uint32_t>(arguments.integer(2, "blockBytes", 0, UINT32_MAX));
  const uint64_t first = static_cast<uint64_t>(arguments.integer(3, "first", 0, INTEGER_MAX));
  if (arguments.ok() && (blockLog2Of(plainBytes) == 0 || bytes.length % storedBytesOf(plainBytes) != 0)) {
    arguments.rangeError("the bytes are no whole blocks");
  }
  if (!arguments.ok()) return undefined(info);
  uint8_t* const memory = engine.mainScratch().window();
  if (memory == nullptr) return number(info, -ENOMEM);
  const uint32_t storedBytes = storedBytesOf(plainBytes);
  const size_t count = bytes.length / storedBytes;
  OpenRow row{-1, 0, memory, keyring.get(), first, GENERATION_NONE, plainBytes, storedBytes, OPEN_MISS, 0, true};
  OpenContexts& contexts = engine.mainContexts();
  std::lock_guard<std::mutex> hold(contexts.mutex());
  size_t proven = 0;
  while (proven < count && openBlock(row, bytes.data + proven * storedBytes, contexts) == OPEN_OK) {
    row.index++;
    proven++;
  }
  return number(info, static_cast<double>(proven));
}

// ---- batches

Napi::Value appendNow(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "appendNow");
  Addon& addon = addonOf(info);
  const int file = arguments.file(0);
  const off_t offset = arguments.offset(1, "offset");
  if (!batches::readSeal(arguments, addon.engine(), addon.batchMemory, addon.sealPlan)) {
    // A plan that is kept would keep released keys.
    addon.sealPlan.clear();
    return undefined(info);
  }
  const int status = sealAndAppend(file, offset, addon.sealPlan, addon.engine().mainScratch(), SEALING_MAIN);
  addon.sealPlan.clear();
  return number(info, status);
}

Napi::Value appendLater(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "appendLater");
  Addon& addon = addonOf(info);
  const napi_value done = arguments.function(12, "done");
  const int file = arguments.file(0);
  const off_t offset = arguments.offset(1, "offset");
  auto operation = std::make_unique<AppendOperation>(file, offset);
  if (!batches::readSeal(arguments, addon.engine(), addon.batchMemory, operation->plan)) return undefined(info);
  const napi_value held = hold(arguments.env(), done, {info[2]}, &addon.batchMemory.values);
  return number(info, addon.completions().submit(addon.engine().appendLane(), std::move(operation), held, nullptr, 1));
}

Napi::Value openNow(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "openNow");
  Addon& addon = addonOf(info);
  Engine& engine = addon.engine();
  OpenPlan& plan = addon.openPlan;
  Elements<int32_t> status;
  if (!batches::readOpen(arguments, engine, addon.batchMemory, false, plan, status)) {
    plan.clear();
    return undefined(info);
  }
  int misses = 0;
  for (size_t first = 0; first < plan.rows.size();) {
    const size_t end = runEnd(plan.rows, first, RUN_ROWS_MAX);
    OpenRow* const rows = plan.rows.data();
    openRun(rows + first, rows + end, ReadMode::CACHED, engine.mainScratch(), engine.mainContexts());
    first = end;
  }
  for (const OpenRow& row : plan.rows) {
    status.data[row.row] = row.status;
    if (row.status == OPEN_MISS) misses++;
  }
  plan.clear();
  return number(info, misses);
}

Napi::Value openLater(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "openLater");
  Addon& addon = addonOf(info);
  const napi_value done = arguments.function(5, "done");
  auto operation = std::make_unique<OpenOperation>();
  Elements<int32_t> status;
  if (!batches::readOpen(arguments, addon.engine(), addon.batchMemory, true, operation->plan, status)) {
    return undefined(info);
  }
  OpenOperation* const open = operation.get();
  Lane& lane = addon.engine().readerLane();
  // An empty batch takes the same way, so that `done` never runs before the call returns.
  const int threads = open->prepare(lane.threadsMax());
  const napi_value held = hold(arguments.env(), done, {info[2]}, &addon.batchMemory.values);
  return number(info, addon.completions().submit(lane, std::move(operation), held, open, threads));
}

// ---- files

// file, offset, length, done
template <typename Make>
Napi::Value rangeCall(const Napi::CallbackInfo& info, const char* call, Lane& lane, Make make) {
  Arguments arguments(info, call);
  const int file = arguments.file(0);
  const off_t offset = arguments.offset(1, "offset");
  const off_t length = arguments.offset(2, "length");
  const napi_value done = arguments.function(3, "done");
  if (!arguments.ok()) return undefined(info);
  return number(info, addonOf(info).completions().submit(lane, make(file, offset, length),
                                                         hold(arguments.env(), done, {}), nullptr, 1));
}

template <RangeOperation::Kind kind>
Napi::Value backgroundRange(const Napi::CallbackInfo& info, const char* call) {
  return rangeCall(info, call, addonOf(info).engine().backgroundLane(), [](int file, off_t offset, off_t length) {
    return std::unique_ptr<Operation>(new RangeOperation(kind, file, offset, length));
  });
}

Napi::Value zeros(const Napi::CallbackInfo& info, const char* call, bool punch) {
  return rangeCall(info, call, addonOf(info).engine().backgroundLane(), [punch](int file, off_t offset, off_t length) {
    return std::unique_ptr<Operation>(new ZeroOperation(file, offset, length, punch));
  });
}

Napi::Value allocate(const Napi::CallbackInfo& info) {
  return backgroundRange<RangeOperation::Kind::ALLOCATE>(info, "allocate");
}
Napi::Value truncate(const Napi::CallbackInfo& info) {
  return backgroundRange<RangeOperation::Kind::TRUNCATE>(info, "truncate");
}
Napi::Value writeback(const Napi::CallbackInfo& info) {
  return rangeCall(info, "writeback", addonOf(info).engine().writebackLane(), [](int file, off_t offset, off_t length) {
    return std::unique_ptr<Operation>(new RangeOperation(RangeOperation::Kind::WRITE_BACK, file, offset, length));
  });
}
Napi::Value dropCache(const Napi::CallbackInfo& info) {
  return backgroundRange<RangeOperation::Kind::DROP_CACHED>(info, "dropCache");
}
Napi::Value readAhead(const Napi::CallbackInfo& info) {
  return backgroundRange<RangeOperation::Kind::READ_AHEAD>(info, "readAhead");
}
Napi::Value noReadAhead(const Napi::CallbackInfo& info) {
  return backgroundRange<RangeOperation::Kind::NO_READ_AHEAD>(info, "noReadAhead");
}
Napi::Value fillZeros(const Napi::CallbackInfo& info) { return zeros(info, "fillZeros", false); }
Napi::Value punch(const Napi::CallbackInfo& info) { return zeros(info, "punch", true); }

Napi::Value sync(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "sync");
  Addon& addon = addonOf(info);
  const int file = arguments.file(0);
  const napi_value done = arguments.function(1, "done");
  if (!arguments.ok()) return undefined(info);
  auto operation = std::make_unique<RangeOperation>(RangeOperation::Kind::SYNC, file, 0, 0);
  const napi_value held = hold(arguments.env(), done, {});
  return number(info, addon.completions().submit(addon.engine().syncLane(), std::move(operation), held, nullptr, 1));
}

Napi::Value syncDirectoryAt(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "syncDirectory");
  Addon& addon = addonOf(info);
  const std::string path = arguments.text(0, "path", PATH_MAX);
  const napi_value done = arguments.function(1, "done");
  if (!arguments.ok()) return undefined(info);
  auto operation = std::make_unique<SyncDirectoryOperation>(path);
  const napi_value held = hold(arguments.env(), done, {});
  return number(info, addon.completions().submit(addon.engine().syncLane(), std::move(operation), held, nullptr, 1));
}

// file, fileOffset, bytes, offset, length, done
Napi::Value read(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "read");
  Addon& addon = addonOf(info);
  const int file = arguments.file(0);
  const off_t at = arguments.offset(1, "fileOffset");
  const Elements<uint8_t> into = arguments.slice(2, "into");
  const napi_value done = arguments.function(5, "done");
  if (!arguments.ok()) return undefined(info);
  auto operation = std::make_unique<ReadOperation>(file, at, into.data, into.length);
  const napi_value held = hold(arguments.env(), done, {info[2]});
  return number(info, addon.completions().submit(addon.engine().readerLane(), std::move(operation), held, nullptr, 1));
}

// file, fileOffset, bytes, done
Napi::Value write(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "write");
  Addon& addon = addonOf(info);
  const int file = arguments.file(0);
  const off_t at = arguments.offset(1, "fileOffset");
  const Elements<uint8_t> bytes = arguments.bytes(2, "bytes");
  const napi_value done = arguments.function(3, "done");
  if (!arguments.ok()) return undefined(info);
  auto operation = std::make_unique<WriteOperation>(file, at, bytes.data, bytes.length);
  const napi_value held = hold(arguments.env(), done, {info[2]});
  return number(info, addon.completions().submit(addon.engine().backgroundLane(), std::move(operation), held, nullptr, 1));
}

Napi::Value lockFile(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "lockFile");
  const int file = arguments.file(0);
  if (!arguments.ok()) return undefined(info);
  return number(info, lockExclusively(file));
}

Napi::Value duplicate(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "duplicateDescriptor");
  const int file = arguments.file(0);
  if (!arguments.ok()) return undefined(info);
  return number(info, duplicateDescriptor(file));
}

Napi::Value notify(const Napi::CallbackInfo& info) {
  Arguments arguments(info, "notifySystemd");
  const std::string socketPath = arguments.text(0, "socketPath", PATH_MAX);
  const std::string state = arguments.text(1, "state", 64 * 1024);
  if (!arguments.ok()) return undefined(info);
  return Napi::Boolean::New(info.Env(), notifySystemd(socketPath, state));
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  Addon* const addon = new Addon(env);
  env.SetInstanceData<Addon>(addon);
  // Hooks run in reverse: this one before that of the wake-up handle, while both still stand.
  napi_add_env_cleanup_hook(env, [](void* data) { static_cast<Addon*>(data)->stop(); }, addon);
  if (!addon->opened()) {
    napi_throw_error(env, nullptr, "the addon got no wake-up handle");
    return exports;
  }
  const struct {
    const char* name;
    Napi::Value (*call)(const Napi::CallbackInfo&);
  } calls[] = {
      {"crc32c", crc32cOf},
      {"isZero", isZero},
      {"allowHardwareChecksums", allowHardwareChecksums},
      {"createKeyring", createKeyring},
      {"addDataKey", addDataKey},
      {"releaseKeyring", releaseKeyring},
      {"createSealingKey", createSealingKey},
      {"releaseSealingKey", releaseSealingKey},
      {"proveSealed", proveSealed},
      {"appendNow", appendNow},
      {"appendLater", appendLater},
      {"openNow", openNow},
      {"openLater", openLater},
      {"allocate", allocate},
      {"truncate", truncate},
      {"fillZeros", fillZeros},
      {"punch", punch},
      {"writeback", writeback},
      {"dropCache", dropCache},
      {"readAhead", readAhead},
      {"noReadAhead", noReadAhead},
      {"sync", sync},
      {"syncDirectory", syncDirectoryAt},
      {"read", read},
      {"write", write},
      {"lockFile", lockFile},
      {"duplicateDescriptor", duplicate},
      {"notifySystemd", notify},
  };
  for (const auto& entry : calls) exports.Set(entry.name, Napi::Function::New(env, entry.call, entry.name));
  exports.Set("record", recordConstants(env));
  exports.Set("block", blockConstants(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(node_nbd, initialize)

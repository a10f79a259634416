// Reads the arguments of one call and refuses wrong ones: the first that is wrong throws a TypeError or RangeError, and
// from then on every answer is empty. Only binding.cc and its headers see N-API.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

constexpr double INTEGER_MAX = 9007199254740991.0;  // 2^53 - 1

template <typename Element>
struct Elements {
  Element* data = nullptr;
  size_t length = 0;
};

class Arguments {
 public:
  Arguments(const Napi::CallbackInfo& info, const char* call) : info_(info), env_(info.Env()), call_(call) {}

  bool ok() const { return ok_; }
  napi_env env() const { return env_; }
  napi_value value(size_t at) const { return info_[at]; }

  void typeError(const std::string& rule) {
    if (ok_) napi_throw_type_error(env_, nullptr, (std::string(call_) + ": " + rule).c_str());
    ok_ = false;
  }

  void rangeError(const std::string& rule) {
    if (ok_) napi_throw_range_error(env_, nullptr, (std::string(call_) + ": " + rule).c_str());
    ok_ = false;
  }

  // JavaScript that ran inside a call threw: its error stands.
  void alreadyThrown() { ok_ = false; }

  // A whole number from `least` to `most`.
  double integer(size_t at, const char* name, double least, double most) {
    double number = 0;
    if (!ok_) return 0;
    if (napi_get_value_double(env_, info_[at], &number) != napi_ok) {
      typeError(std::string(name) + " is not a number");
      return 0;
    }
    if (!isWhole(number, least, most)) {
      rangeError(std::string(name) + " is out of range");
      return 0;
    }
    return number;
  }

  int file(size_t at) { return static_cast<int>(integer(at, "file", 0, INT32_MAX)); }
  off_t offset(size_t at, const char* name) { return static_cast<off_t>(integer(at, name, 0, INTEGER_MAX)); }

  bool boolean(size_t at, const char* name) {
    bool value = false;
    if (ok_ && napi_get_value_bool(env_, info_[at], &value) != napi_ok) typeError(std::string(name) + " is not a boolean");
    return value;
  }

  std::string text(size_t at, const char* name, size_t bytesMax) {
    size_t length = 0;
    if (!ok_) return {};
    if (napi_get_value_string_utf8(env_, info_[at], nullptr, 0, &length) != napi_ok) {
      typeError(std::string(name) + " is not a string");
      return {};
    }
    if (length > bytesMax) {
      rangeError(std::string(name) + " is too long");
      return {};
    }
    std::string out(length, '\0');
    napi_get_value_string_utf8(env_, info_[at], &out[0], length + 1, &length);
    if (out.find('\0') != std::string::npos) rangeError(std::string(name) + " holds a zero character");
    return ok_ ? out : std::string();
  }

  napi_value function(size_t at, const char* name) {
    napi_valuetype type = napi_undefined;
    napi_typeof(env_, info_[at], &type);
    if (ok_ && type != napi_function) typeError(std::string(name) + " is not a function");
    return info_[at];
  }

  Elements<uint8_t> bytes(size_t at, const char* name) { return typed<uint8_t>(info_[at], napi_uint8_array, name); }
  Elements<int32_t> ints(size_t at, const char* name) { return typed<int32_t>(info_[at], napi_int32_array, name); }
  Elements<double> doubles(size_t at, const char* name) { return typed<double>(info_[at], napi_float64_array, name); }

  // The bytes [offset, offset + length) of argument `at`, both numbers being the arguments behind it.
  Elements<uint8_t> slice(size_t at, const char* name) {
    const Elements<uint8_t> whole = bytes(at, name);
    const double from = integer(at + 1, "offset", 0, INTEGER_MAX);
    const double length = integer(at + 2, "length", 0, INTEGER_MAX);
    if (ok_ && from + length > static_cast<double>(whole.length)) rangeError("offset and length reach past the bytes");
    if (!ok_) return {};
    return {whole.data + static_cast<size_t>(from), static_cast<size_t>(length)};
  }

  // The elements of an array of byte arrays. In two steps, because reading an element can run a getter, and a getter
  // can detach a buffer whose address was taken: all elements are read before any address is.
  void elements(size_t at, const char* name, std::vector<napi_value>& out) {
    out.clear();
    if (!ok_) return;
    bool isArray = false;
    uint32_t length = 0;
    if (napi_is_array(env_, info_[at], &isArray) != napi_ok || !isArray ||
        napi_get_array_length(env_, info_[at], &length) != napi_ok) {
      return typeError(std::string(name) + " is not an array");
    }
    if (length > ELEMENTS_MAX) return rangeError(std::string(name) + " is too long");
    for (uint32_t n = 0; n < length; n++) {
      napi_value element = nullptr;
      if (napi_get_element(env_, info_[at], n, &element) != napi_ok) return alreadyThrown();
      out.push_back(element);
    }
  }

  void byteArrays(const char* name, const std::vector<napi_value>& values, std::vector<Elements<uint8_t>>& out) {
    out.clear();
    for (napi_value value : values) {
      out.push_back(typed<uint8_t>(value, napi_uint8_array, name));
      if (!ok_) return;
    }
  }

  static bool isWhole(double number, double least, double most) {
    // NaN fails every comparison.
    return number >= least && number <= most && number == std::floor(number);
  }

  static constexpr uint32_t ELEMENTS_MAX = 65536;

 private:
  // A detached array has length 0, so every range check behind this refuses it.
  template <typename Element>
  Elements<Element> typed(napi_value value, napi_typedarray_type wanted, const char* name) {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (!ok_) return {};
    if (napi_get_typedarray_info(env_, value, &type, &length, &data, nullptr, nullptr) != napi_ok || type != wanted) {
      typeError(std::string(name) + " is not the right kind of typed array");
      return {};
    }
    return {static_cast<Element*>(data), data == nullptr ? 0 : length};
  }

  const Napi::CallbackInfo& info_;
  const napi_env env_;
  const char* const call_;
  bool ok_ = true;
};

// The numbers of the formats, for JavaScript: typed once, here in C++.
#pragma once

#include <napi.h>

#include "block-format.h"
#include "record-format.h"

inline Napi::Object recordConstants(Napi::Env env) {
  Napi::Object out = Napi::Object::New(env);
  const struct {
    const char* name;
    double value;
  } all[] = {
      {"MAGIC", RECORD_MAGIC},
      {"VERSION", RECORD_VERSION},
      {"MAGIC_AT", RECORD_MAGIC_AT},
      {"VERSION_AT", RECORD_VERSION_AT},
      {"KIND_AT", RECORD_KIND_AT},
      {"STAMP_AT", RECORD_STAMP_AT},
      {"HEADER_BYTES_AT", RECORD_HEADER_BYTES_AT},
      {"RECORD_BYTES_AT", RECORD_BYTES_AT},
      {"SEQUENCE_AT", RECORD_SEQUENCE_AT},
      {"LAYER_AT", RECORD_LAYER_AT},
      {"LAYER_ORDINAL_AT", RECORD_LAYER_ORDINAL_AT},
      {"DURABLE_UP_TO_AT", RECORD_DURABLE_UP_TO_AT},
      {"EPOCH_AT", RECORD_EPOCH_AT},
      {"EXTENT_COUNT_AT", RECORD_EXTENT_COUNT_AT},
      {"PAYLOAD_OFFSET_AT", RECORD_PAYLOAD_OFFSET_AT},
      {"BLOCK_LOG2_AT", RECORD_BLOCK_LOG2_AT},
      {"PAYLOAD_CRC_AT", RECORD_PAYLOAD_CRC_AT},
      {"HEADER_CRC_AT", RECORD_HEADER_CRC_AT},
      {"BY_KIND_AT", RECORD_BY_KIND_AT},
      {"EXTENTS_AT", RECORD_EXTENTS_AT},
      {"EXTENT_BYTES", RECORD_EXTENT_BYTES},
      {"HEADER_BYTES_MIN", RECORD_HEADER_BYTES_MIN},
      {"HEADER_BYTES_MAX", RECORD_HEADER_BYTES_MAX},
      {"APPEND_BORDER_BYTES", APPEND_BORDER_BYTES},
  };
  for (const auto& constant : all) out.Set(constant.name, Napi::Number::New(env, constant.value));
  return out;
}

inline Napi::Object blockConstants(Napi::Env env) {
  Napi::Object out = Napi::Object::New(env);
  const struct {
    const char* name;
    double value;
  } all[] = {
      {"HEADER_BYTES", BLOCK_HEADER_BYTES},
      {"NONCE_AT", BLOCK_NONCE_AT},
      {"COUNTER_AT", BLOCK_COUNTER_AT},
      {"NONCE_BYTES", BLOCK_NONCE_BYTES},
      {"TAG_AT", BLOCK_TAG_AT},
      {"TAG_BYTES", BLOCK_TAG_BYTES},
      {"SALT_AT", BLOCK_SALT_AT},
      {"SALT_BYTES", BLOCK_SALT_BYTES},
      {"KEY_NUMBER_AT", BLOCK_KEY_NUMBER_AT},
      {"GENERATION_AT", BLOCK_GENERATION_AT},
      {"FLAGS_AT", BLOCK_FLAGS_AT},
      {"LOG2_AT", BLOCK_LOG2_AT},
      {"STORED_LENGTH_AT", BLOCK_STORED_LENGTH_AT},
      {"HEADER_CRC_AT", BLOCK_HEADER_CRC_AT},
      {"FLAG_PLAIN", BLOCK_FLAG_PLAIN},
      {"PLAIN_BYTES_MIN", PLAIN_BYTES_MIN},
      {"PLAIN_BYTES_MAX", PLAIN_BYTES_MAX},
      {"GENERATION_MAX", static_cast<double>(GENERATION_MAX)},
  };
  for (const auto& constant : all) out.Set(constant.name, Napi::Number::New(env, constant.value));
  return out;
}

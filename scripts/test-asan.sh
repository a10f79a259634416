#!/bin/sh
# Builds the addon with AddressSanitizer and UndefinedBehaviorSanitizer into a folder of its own and runs the tests of
# test/io with it. Says so and ends with 0 where the compiler has no sanitizer. Run from anywhere.
set -eu
cd "$(dirname "$0")/.."

compiler=${CXX:-g++}
runtime=$("$compiler" -print-file-name=libasan.so 2>/dev/null || true)
# A compiler that has no such library answers the bare name.
case "$runtime" in
  /*) ;;
  *)
    echo "skipped: $compiler has no AddressSanitizer (libasan.so)"
    exit 0
    ;;
esac

folder=$(mktemp -d "${TMPDIR:-/tmp}/galleon-asan.XXXXXX")
trap 'rm -rf "$folder"' EXIT INT TERM

# Headers of the Node that runs the tests: beside its binary, or where its prefix keeps them.
headers=$(node -p 'const { dirname, join } = require("node:path"); join(dirname(dirname(process.execPath)), "include", "node")')
if [ ! -f "$headers/node_api.h" ]; then
  echo "skipped: no headers of Node in $headers"
  exit 0
fi
napi=$(node -p 'require("node-addon-api").include_dir')

# The same flags as binding.gyp's, and the sanitizers; no node-gyp, whose build folder belongs to the real addon.
# shellcheck disable=SC2046
"$compiler" -shared -fPIC -std=gnu++17 -O1 -g -fno-omit-frame-pointer -fno-exceptions -fno-rtti \
  -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wall -Wextra -fvisibility=hidden \
  -DNODE_GYP_MODULE_NAME=node_nbd -DBUILDING_NODE_EXTENSION -DNAPI_VERSION=8 \
  -DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS -DNODE_ADDON_API_DISABLE_DEPRECATED -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 \
  -I"$headers" -I"$napi" $(ls native/*.cc) -o "$folder/node_nbd.node" -pthread

# Leaks are not looked for: Node leaves much unfreed at exit.
LD_PRELOAD="$runtime" \
  ASAN_OPTIONS="detect_leaks=0:halt_on_error=1:abort_on_error=1:allocator_may_return_null=1" \
  UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1" \
  GFS_ADDON_PATH="$folder/node_nbd.node" \
  npx vitest run test/io "$@"

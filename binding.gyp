{
  "targets": [
    {
      "target_name": "node_nbd",
      "sources": [
        "native/binding.cc",
        "native/crc32c.cc",
        "native/engine.cc",
        "native/files.cc",
        "native/keys.cc",
        "native/open.cc",
        "native/open-contexts.cc",
        "native/operations.cc",
        "native/scratch.cc",
        "native/seal.cc",
        "native/secret-memory.cc",
        "native/systemd-notify.cc",
        "native/threads.cc"
      ],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
      "cflags": ["-O3", "-fvisibility=hidden", "-Wall", "-Wextra"],
      "cflags_cc": ["-std=c++17", "-fvisibility-inlines-hidden"],
      "conditions": [
        ["OS=='linux'", { "defines": ["_GNU_SOURCE", "_FILE_OFFSET_BITS=64"] }]
      ]
    }
  ]
}

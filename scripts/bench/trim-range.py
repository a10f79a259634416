"""Trims a range as a kernel does: in requests of at most 4 GiB less one block, several of them under way.

trim-range.py URI OFFSET_BYTES LENGTH_BYTES
Prints one JSON object: how many requests, and the seconds from the first one sent until the last one was answered.
"""
import collections
import json
import sys
import time

import nbd

# A discard's length is a 32-bit number of bytes (bio_discard_limit in Linux), and it ends where a block does.
REQUEST_BYTES_MAX = 2**32 - 4096
DEPTH = 32

uri, offset, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = nbd.NBD()
client.connect_uri(uri)
pending = collections.deque()


def retire():
    cookie = pending.popleft()
    while not client.aio_command_completed(cookie):
        client.poll(-1)


requests = 0
start = time.monotonic()
end = offset + length
while offset < end:
    if len(pending) == DEPTH:
        retire()
    count = min(REQUEST_BYTES_MAX, end - offset)
    pending.append(client.aio_trim(count, offset))
    offset += count
    requests += 1
while pending:
    retire()
seconds = time.monotonic() - start
client.shutdown()
print(json.dumps({"requests": requests, "seconds": seconds}))

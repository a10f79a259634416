"""Writes 4 KiB at random places, so many times, and flushes at the end.

scattered-writes.py URI SIZE_BYTES WRITES SEED
"""
import collections
import random
import sys

import nbd

BLOCK = 4096
DEPTH = 32

uri, size, writes, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
client = nbd.NBD()
client.connect_uri(uri)
# They belong to libnbd until their write is answered.
pending = collections.deque()


def retire():
    cookie, _ = pending.popleft()
    while not client.aio_command_completed(cookie):
        client.poll(-1)


for _ in range(writes):
    if len(pending) == DEPTH:
        retire()
    data = nbd.Buffer.from_bytearray(bytearray(rng.randbytes(BLOCK)))
    pending.append((client.aio_pwrite(data, rng.randrange(size // BLOCK) * BLOCK), data))
while pending:
    retire()
client.flush()
client.shutdown()

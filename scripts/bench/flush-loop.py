"""Writes 4 KiB at random places, each followed by a FLUSH, one after the other, for some seconds.

flush-loop.py URI SIZE_BYTES SECONDS SEED
Prints one JSON object: how many pairs, in how many seconds, and percentiles of the latency of a pair in microseconds.
"""
import json
import random
import sys
import time

import nbd

BLOCK = 4096
# More than one block's worth of different bytes, so that no two neighbours are equal.
PATTERN_BLOCKS = 64

uri, size, seconds, seed = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
rng = random.Random(seed)
pattern = [rng.randbytes(BLOCK) for _ in range(PATTERN_BLOCKS)]
client = nbd.NBD()
client.connect_uri(uri)
latencies = []
start = time.monotonic()
end = start + seconds
now = start
while now < end:
    client.pwrite(pattern[len(latencies) % PATTERN_BLOCKS], rng.randrange(size // BLOCK) * BLOCK)
    client.flush()
    after = time.monotonic()
    latencies.append(after - now)
    now = after
client.shutdown()
latencies.sort()
count = len(latencies)
print(
    json.dumps(
        {
            "pairs": count,
            "seconds": now - start,
            "bytes": count * BLOCK,
            "p99Us": latencies[int(count * 0.99)] * 1e6,
            "p999Us": latencies[int(count * 0.999)] * 1e6,
            "maxUs": latencies[-1] * 1e6,
        }
    )
)

"""A real volume through libnbd: what every command promises, also across connections; ends with one line."""

import errno
import sys

import nbd

unix, tcp, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
KIB, MIB = 1024, 1 << 20


def connect(uri, structured=True):
    handle = nbd.NBD()
    handle.set_request_structured_replies(structured)
    handle.add_meta_context(nbd.CONTEXT_BASE_ALLOCATION)
    # Requests that libnbd itself would refuse are the server's to judge here.
    handle.set_strict_mode(0)
    handle.connect_uri(uri)
    return handle


def expect_error(number, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except nbd.Error as error:
        assert error.errnum == number, f"{error} is not {errno.errorcode[number]}"
        return
    raise AssertionError(f"expected {errno.errorcode[number]}")


def extents(handle, count, offset, flags=0):
    found = []
    handle.block_status(count, offset, lambda context, at, entries, error: found.extend(entries), flags=flags)
    return list(zip(found[0::2], found[1::2]))


one, two = connect(unix), connect(tcp)
assert one.get_size() == two.get_size() == size
assert one.get_structured_replies_negotiated() and one.can_multi_conn()

# A new volume is a hole from end to end.
assert extents(one, size, 0) == [(size, nbd.STATE_HOLE | nbd.STATE_ZERO)]

# Multi-conn: what one connection was told is done, the other sees; a flush on one covers the other.
data = bytes(range(256)) * 48
two.pwrite(data, 3 * MIB + 100)
one.flush()
assert one.pread(len(data), 3 * MIB + 100) == data
one.pwrite(b"\x01" * 4096, 0, flags=nbd.CMD_FLAG_FUA)
assert two.pread(4096, 0) == b"\x01" * 4096

# Structured reads say where holes are, and DF keeps one piece.
chunks = []
one.pread_structured(MIB, 2 * MIB + 512 * KIB, lambda buf, at, status, error: chunks.append((at, len(buf), status)))
assert sum(length for _, length, _ in chunks) == MIB, chunks
assert one.pread(MIB, 3 * MIB, flags=nbd.CMD_FLAG_DF) == two.pread(MIB, 3 * MIB)

# Zeroes and trim, with their flags, over the edges of blocks.
one.pwrite(b"\x33" * (256 * KIB), 8 * MIB)
one.zero(5000, 8 * MIB + 100)
assert two.pread(5200, 8 * MIB) == b"\x33" * 100 + bytes(5000) + b"\x33" * 100
one.zero(64 * KIB, 8 * MIB + 64 * KIB, flags=nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
assert two.pread(64 * KIB, 8 * MIB + 64 * KIB) == bytes(64 * KIB)
one.trim(64 * KIB, 8 * MIB + 128 * KIB, flags=nbd.CMD_FLAG_FUA)
assert two.pread(64 * KIB, 8 * MIB + 128 * KIB) == bytes(64 * KIB)
assert extents(two, 64 * KIB, 8 * MIB + 128 * KIB) == [(64 * KIB, nbd.STATE_HOLE | nbd.STATE_ZERO)]
assert extents(two, 4096, 8 * MIB + 192 * KIB, flags=nbd.CMD_FLAG_REQ_ONE) == [(4096, 0)]
one.cache(MIB, 8 * MIB)

# Errors, after which the connection goes on.
expect_error(errno.EINVAL, one.pread, 2, size - 1)
expect_error(errno.ENOSPC, one.pwrite, b"xx", size - 1)
expect_error(errno.ENOSPC, one.zero, 2, size - 1)
expect_error(errno.EINVAL, one.trim, 2, size - 1)
assert one.pread(1, size - 1) == b"\0"

# A client that speaks simple replies only.
simple = connect(unix, structured=False)
assert simple.pread(100, 8 * MIB) == b"\x33" * 100

# Many requests in flight over four connections, written by one and read by another.
handles = [connect(uri) for uri in (unix, tcp, unix, tcp)]
for handle in handles:
    handle.set_strict_mode(0)
places = [16 * MIB + n * 7001 for n in range(400)]
for base in range(0, 4):
    handle = handles[base]
    mine = [(n, place) for n, place in enumerate(places) if n % 4 == base]
    buffers = [nbd.Buffer.from_bytearray(bytearray([n % 256]) * 7001) for n, _ in mine]
    cookies = [handle.aio_pwrite(buffer, place) for buffer, (_, place) in zip(buffers, mine)]
    while cookies:
        handle.poll(-1)
        cookies = [cookie for cookie in cookies if not handle.aio_command_completed(cookie)]
handles[0].flush()
whole = handles[3].pread(400 * 7001, places[0])
assert whole == b"".join(bytes([n % 256]) * 7001 for n in range(400))

for handle in [one, two, simple, *handles]:
    handle.shutdown()
print("all behaved")

"""Every NBD command through libnbd, with the flags that it takes; ends with one line when all behaved."""

import errno
import sys

import nbd

uri, size = sys.argv[1], int(sys.argv[2])


def connect(structured=True):
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


handle = connect()
assert handle.get_size() == size
assert handle.get_structured_replies_negotiated()
assert handle.get_block_size(nbd.SIZE_PREFERRED) == 4096

# Unaligned, over the edges of blocks, with FUA.
data = bytes(range(256)) * 40
handle.pwrite(data, 4000, flags=nbd.CMD_FLAG_FUA)
assert handle.pread(len(data), 4000) == data
assert handle.pread(len(data), 4000, flags=nbd.CMD_FLAG_DF) == data
assert handle.pread(4000, 0) == bytes(4000)

# A structured read names where its data belongs.
chunks = []
handle.pread_structured(len(data), 4000, lambda buf, at, status, error: chunks.append((at, bytes(buf), status)))
assert chunks == [(4000, data, nbd.READ_DATA)], chunks

# Zeroes and trim, with all flags.
handle.zero(100, 5000)
handle.zero(5000, 6000, flags=nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
assert handle.pread(100, 5000) == bytes(100)
assert handle.pread(900, 5100) == data[1100:2000]
handle.trim(4096, 8192, flags=nbd.CMD_FLAG_FUA)
assert handle.pread(4096, 8192) == bytes(4096)
expect_error(errno.ENOTSUP, handle.zero, 4096, 0, flags=nbd.CMD_FLAG_FAST_ZERO)
handle.cache(size, 0)
handle.flush()

# Block status.
handle.zero(size, 0)
handle.pwrite(b"x", 4096)
assert extents(handle, size, 0) == [(4096, 3), (4096, 0), (size - 8192, 3)]
assert extents(handle, size, 0, flags=nbd.CMD_FLAG_REQ_ONE) == [(4096, 3)]

# Errors.
expect_error(errno.EINVAL, handle.pread, 2, size - 1)
expect_error(errno.ENOSPC, handle.pwrite, b"xx", size - 1)
expect_error(errno.ENOSPC, handle.zero, 2, size - 1)
expect_error(errno.EINVAL, handle.trim, 2, size - 1)
expect_error(errno.EINVAL, handle.cache, 2, size - 1)
expect_error(errno.EINVAL, handle.pread, 1, 0, flags=nbd.CMD_FLAG_NO_HOLE)

# A client that speaks simple replies only.
simple = connect(structured=False)
assert not simple.get_structured_replies_negotiated()
assert simple.pread(1, 4096) == b"x"
expect_error(errno.EINVAL, simple.pread, 2, size - 1)
assert simple.pread(1, 4096) == b"x"

# Many at once.
buffers = [nbd.Buffer.from_bytearray(bytearray([i % 256]) * 5000) for i in range(200)]
cookies = [handle.aio_pwrite(buffer, i * 5000) for i, buffer in enumerate(buffers)]
while cookies:
    handle.poll(-1)
    cookies = [cookie for cookie in cookies if not handle.aio_command_completed(cookie)]
whole = handle.pread(200 * 5000, 0)
assert whole == b"".join(bytes([i % 256]) * 5000 for i in range(200))

simple.shutdown()
handle.shutdown()
print("all commands behaved")

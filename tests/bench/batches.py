# bench/batches.py - either end of bench.Echo by a fixed script: a batch of requests in one write, its answers in one.
#
# For counting what the other end does: nothing here depends on time. The next batch goes when all of the last one has
# come back and `settle` has seen the other end fall asleep, so it wakes up once, and finds all of it and only it.
# Header blocks are those that nghttp2's encoder repeats: by index, but for the path, which is Huffman-coded each time.
import contextlib
import pathlib
import socket
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "attack"))
from frames import ACK, DATA, END_STREAM, HEADERS, HELLO, SETTINGS, WINDOW  # noqa: E402
from frames import frame, headers, indexed_literal, message, setting, text  # noqa: E402

VALUE = b"\x0a\x14" + bytes(20)  # a bench.Value of 20 bytes, as nebula_peer sends it
MESSAGE = message(0, VALUE)[9:]
PATHS = {"unary": "8d6232d449d7c049cec70a8767af", "stream": "8d6232d449d7c049cec6e4d851d3"}  # /bench.Echo/...
# So that nobody waits for a window: of each stream, and of the connection.
LARGE_WINDOWS = frame(SETTINGS, 0, 0, setting(4, (1 << 31) - 1)) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30))
PATIENCE_S = 60


def request_blocks(shape):
    """The header block of the first request, and of all others."""
    start = b"\x83\x86\x04" + bytes.fromhex(PATHS[shape])  # POST, http, :path
    first = b"\x41" + text("127.0.0.1:4000") + indexed_literal("te", "trailers") + b"\x5f" + text("application/grpc")
    return start + first, start + b"\xc0\xbf\xbe"


def answer_blocks():
    """Header blocks of the first answer, of the others, of the first trailers and of the others."""
    return b"\x88\x5f" + text("application/grpc"), b"\x88\xbf", indexed_literal("grpc-status", "0"), b"\xbe"


def frames(file):
    """What comes: (kind, flags, stream, payload) of each frame, until the other end hangs up."""
    while len(head := file.read(9)) == 9:
        size, kind, flags, stream = int.from_bytes(head[:3], "big"), *struct.unpack(">BBI", head[3:])
        yield kind, flags, stream, file.read(size)


def accept_settings(connection, incoming):
    if any(kind == SETTINGS for kind, _, _, _ in incoming):  # reads until then
        connection.sendall(frame(SETTINGS, ACK, 0))


def batch_of(incoming, shape, count):
    """Reads a batch of so many messages, or calls of one message; the streams that ended, in their order. Raises
    RuntimeError when it is another one, or the other end hangs up."""
    data, ended = b"", []
    for kind, flags, stream, payload in incoming:
        data += payload if kind == DATA else b""
        ended += [stream] if kind in (DATA, HEADERS) and flags & END_STREAM else []
        if len(data) >= count * len(MESSAGE) and (shape == "stream" or len(ended) == count):
            break
    if data != MESSAGE * count or len(ended) != (0 if shape == "stream" else count):
        raise RuntimeError(f"{len(data)} bytes and {len(ended)} ends came for a batch of {count}")
    return ended


@contextlib.contextmanager
def asked(address, shape, count, batches, settle):
    """A client: so many batches, of `count` unary calls, or of as many messages of one stream; its connection stands
    until the context is left."""
    first, again = request_blocks(shape)
    with socket.create_connection(address, PATIENCE_S) as connection, connection.makefile("rb") as file:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(HELLO[:24] + LARGE_WINDOWS)
        incoming = frames(file)
        accept_settings(connection, incoming)
        for batch in range(batches):
            settle()
            if shape == "stream":
                call = headers(1, first) if batch == 0 else b""
                connection.sendall(call + frame(DATA, 0, 1, MESSAGE * count))
            else:
                calls = b""
                for stream in range(1 + 2 * count * batch, 1 + 2 * count * (batch + 1), 2):
                    calls += headers(stream, first if stream == 1 else again) + message(stream, VALUE)
                connection.sendall(calls)
            batch_of(incoming, shape, count)
        settle()
        yield


def answer(listener, shape, count, batches, settle):
    """A server: waits for a client and answers so many batches of it; then the client may hang up. Raises as asked."""
    first, again, first_end, again_end = answer_blocks()
    listener.settimeout(PATIENCE_S)
    connection, _ = listener.accept()
    connection.settimeout(PATIENCE_S)
    with connection, connection.makefile("rb") as file:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(LARGE_WINDOWS)
        file.read(24)
        incoming = frames(file)
        accept_settings(connection, incoming)
        for batch in range(batches):
            streams = batch_of(incoming, shape, count)
            settle()
            if shape == "stream":
                connection.sendall((headers(1, first) if batch == 0 else b"") + frame(DATA, 0, 1, MESSAGE * count))
                continue
            out = b""
            for stream in streams:
                out += headers(stream, first) + frame(DATA, 0, stream, MESSAGE) + headers(stream, first_end, end=True)
                first, first_end = again, again_end
            connection.sendall(out)
        with contextlib.suppress(OSError):  # what the client had begun when it had enough
            while connection.recv(1 << 16):
                pass

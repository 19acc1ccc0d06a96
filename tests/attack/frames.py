# attack/frames.py - HTTP/2 by hand (RFC 9113, RFC 7541): frames and header blocks, and a socket that sends them.
import contextlib
import select
import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM = ACK = 1
END_HEADERS = 4
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + struct.pack(">I", 0)[1:] + bytes([SETTINGS, 0]) + bytes(4)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def setting(name, value):
    return struct.pack(">HI", name, value)


def integer(value, bits, first=0):
    """An integer of RFC 7541, 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def text(value):
    value = value.encode() if isinstance(value, str) else value
    return integer(len(value), 7) + value


def literal(name, value):
    return b"\x00" + text(name) + text(value)


def indexed_literal(name, value):
    """As a literal, and the first entry (62) of the dynamic table from then on."""
    return b"\x40" + text(name) + text(value)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def grpc_head(path, more=()):
    head = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "attack"), ("te", "trailers"),
            ("content-type", "application/grpc")]
    return block([*head, *more])


def get_head(path, more=()):
    return block([(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "attack"), *more])


def headers(stream, head, end=False):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, head)


def message(stream, payload, last=True):
    """A gRPC message."""
    return frame(DATA, END_STREAM if last else 0, stream, b"\0" + struct.pack(">I", len(payload)) + payload)


class Peer:
    """A client's end of a connection; closed: the server has hung up. `wrap` makes a socket of TLS of a plain one."""

    def __init__(self, port, settings=b"", window=True, wrap=None):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if wrap is not None:
            self.socket = wrap(self.socket)
        self._poll = select.poll()  # select() knows no descriptor from 1024 on
        self._poll.register(self.socket, select.POLLIN)
        self.closed = False
        self.goaway = None  # the last stream that the server has taken, and why it ends
        self._buffer = b""
        self.next = 1
        hello = HELLO if not settings else HELLO[:24] + frame(SETTINGS, 0, 0, settings)
        self.send(hello + (frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)) if window else b""))

    def stream(self):
        self.next += 2
        return self.next - 2

    def send(self, data):
        """False: the server has hung up, or does not take it within a second."""
        if self.closed:
            return False
        try:
            self.socket.settimeout(1)
            self.socket.sendall(data)
            return True
        except TimeoutError:
            return False
        except OSError:
            self.read(0)
            self.closed = True
            return False

    def read(self, wait=0.0):
        """The frames that come within that many seconds, as (kind, flags, stream, payload)."""
        try:
            while not self.closed and self._poll.poll(wait * 1000):
                data = self.socket.recv(1 << 18)
                self.closed = data == b""
                self._buffer += data
                wait = 0
        except OSError:
            self.closed = True
        found, at = [], 0
        while at + 9 <= len(self._buffer):
            size = int.from_bytes(self._buffer[at:at + 3], "big")
            if at + 9 + size > len(self._buffer):
                break
            kind, flags = self._buffer[at + 3], self._buffer[at + 4]
            stream = int.from_bytes(self._buffer[at + 5:at + 9], "big")
            payload = self._buffer[at + 9:at + 9 + size]
            at += 9 + size
            found.append((kind, flags, stream, payload))
            if kind == GOAWAY:
                self.goaway = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
        self._buffer = self._buffer[at:]
        for kind, flags, _, payload in found:
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if kind == DATA and payload:
                self.send(frame(WINDOW, 0, 0, struct.pack(">I", len(payload))))
        return found

    def is_over(self, wait=0.0):
        """Whether the server has hung up or said that it will, within so many seconds."""
        end = time.monotonic() + wait
        while True:
            self.read(max(0.0, min(0.1, end - time.monotonic())))
            if self.closed or self.goaway is not None:
                return True
            if time.monotonic() >= end:
                return False

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.close()
        self.closed = True

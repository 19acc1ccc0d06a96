"""A server refuses a stream that surely no handler has seen: the engine makes the call again, with all of its messages.

The server here is a script, since no real one refuses at a wish (RFC 9113, 8.7; gRFC A6, transparent retries).
"""

from __future__ import annotations

import pathlib
import socket
import struct
import sys
import threading

import pytest
from kit import PATIENCE

import nebula

sys.path.append(str(pathlib.Path(__file__).parents[3] / "tests/attack"))
from frames import (  # noqa: E402
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    RST,
    SETTINGS,
    WINDOW,
    block,
    frame,
    headers,
    message,
    setting,
)

REFUSED_STREAM = struct.pack(">I", 7)


class Refusing:
    """Refuses the first stream once so many bytes of it have come, and answers the second with the bytes of that."""

    def __init__(self, after):
        self.after = after
        self.streams = {}  # how many bytes have come of each
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(PATIENCE)
        self.read = self.connection.makefile("rb").read
        self.read(24)
        window = setting(4, 1 << 20)  # of each stream; and of all together
        self.connection.sendall(frame(SETTINGS, 0, 0, window) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 20)))
        while head := self.read(9):
            size, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = self.read(size)
            if kind == SETTINGS and not flags & ACK:
                self.connection.sendall(frame(SETTINGS, ACK, 0))
            if kind in (HEADERS, DATA) and self.streams.get(stream, 0) is not None:
                self.take(stream, len(payload) if kind == DATA else 0, bool(flags & END_STREAM))

    def take(self, stream, size, is_over):
        self.streams[stream] = self.streams.get(stream, 0) + size
        if len(self.streams) == 1 and self.streams[stream] >= self.after:
            self.streams[stream] = None  # what is still on its way to it is not looked at
            self.connection.sendall(frame(RST, 0, stream, REFUSED_STREAM))
        elif is_over:
            answer = message(stream, str(self.streams[stream]).encode(), last=False)
            self.connection.sendall(
                headers(stream, block([(":status", "200"), ("content-type", "application/grpc+json")]))
                + answer
                + headers(stream, block([("grpc-status", "0")]), end=True)
            )


@pytest.mark.parametrize("count", [0, 1, 50])
def test_what_was_sent_is_sent_again(count):
    # Bytes: for JSON the first stream would be the question what the service takes.
    texts = [b"x" * 1000] * count
    server = Refusing(after=1000 * count)
    with nebula.connect(server.url) as channel:
        got = channel.call("/any.Service/Take", iter(texts), response=bytes, timeout=PATIENCE)
    assert int(got) == count * (5 + 1000)


def test_what_is_too_much_to_be_kept_is_not_sent_again():
    server = Refusing(after=100_000)
    with nebula.connect(server.url) as channel, pytest.raises(nebula.Error) as caught:
        channel.call("/any.Service/Take", iter([b"x" * 1000] * 200), response=bytes, timeout=PATIENCE)
    assert (caught.value.code, caught.value.fate) == (nebula.UNAVAILABLE, nebula.Fate.UNPROCESSED)

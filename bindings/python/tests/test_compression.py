"""Compression: asked for by channel, call or server, and left out message by message."""

from __future__ import annotations

import asyncio
from typing import Iterator

import pytest
from kit import Background

import nebula

LARGE = "m" * 50_000
OVER_COMPRESSED = "a compressed message is larger than the limit"
OVER_PLAIN = "is over the limit of"


def app_of() -> nebula.Service:
    app = nebula.Service("hello")

    @app.rpc
    async def echo(text: str) -> str:
        return text

    @app.rpc
    def plain(text: str, ctx: nebula.Context) -> str:
        ctx.compress = False
        return text

    @app.rpc
    def count(texts: Iterator[str], ctx: nebula.Context) -> Iterator[int]:
        for text in texts:
            yield len(text)

    return app


@pytest.fixture
def address():
    """A server that compresses its answers."""
    with Background(app_of(), address="tcp://127.0.0.1:0", compression="gzip") as server:
        yield server.urls[0]


@pytest.fixture
def small():
    """One that takes little, and whose words tell how what was too much has come."""
    with Background(app_of(), address="tcp://127.0.0.1:0", max_message=1000) as server:
        yield server.urls[0]


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(nebula.Error) as caught:
        call(*arguments, **options)
    assert caught.value.code == nebula.RESOURCE_EXHAUSTED
    return caught.value.message


@pytest.mark.parametrize("compression", ["gzip", "zstd", "identity", None])
def test_messages_come_whole_whatever_the_compression(address, compression):
    with nebula.connect(address, compression=compression) as channel:
        assert channel.call("/hello/echo", {"text": LARGE}, timeout=5) == LARGE
        assert channel.call("/hello/plain", {"text": LARGE}, timeout=5) == LARGE
        assert list(channel.stream("/hello/count", iter([LARGE, "a", LARGE]), timeout=5)) == [50_000, 1, 50_000]


def test_a_channel_or_a_call_decides_about_requests(small):
    with nebula.connect(small) as plain, nebula.connect(small, compression="zstd") as compressing:
        request = {"text": LARGE}
        assert OVER_PLAIN in refusal(plain.call, "/hello/echo", request, timeout=5)
        assert OVER_COMPRESSED in refusal(plain.call, "/hello/echo", request, timeout=5, compression="gzip")
        assert OVER_COMPRESSED in refusal(compressing.call, "/hello/echo", request, timeout=5)
        assert OVER_COMPRESSED in refusal(compressing.service("hello").echo, request, timeout=5, compression="gzip")
        assert OVER_PLAIN in refusal(compressing.call, "/hello/echo", request, timeout=5, compression="identity")


def test_a_server_decides_about_answers_and_a_handler_for_itself(address):
    with nebula.connect(address, max_message=1000) as channel:
        assert OVER_COMPRESSED in refusal(channel.call, "/hello/echo", {"text": LARGE}, timeout=5)
        assert OVER_PLAIN in refusal(channel.call, "/hello/plain", {"text": LARGE}, timeout=5)


@pytest.mark.parametrize("compress", [True, False])
def test_single_messages_of_a_stream_are_left_alone(small, compress):
    expected = OVER_COMPRESSED if compress else OVER_PLAIN
    with nebula.connect(small) as channel, channel.open("/hello/count", compression="gzip", timeout=5) as stream:
        stream.send("a" * 500)
        assert stream.receive() == 500
        stream.send(LARGE, compress=compress)
        assert expected in refusal(stream.receive)

    async def on_a_loop() -> None:
        async with nebula.connect(small) as channel, channel.open(
            "/hello/count", compression="gzip", timeout=5
        ) as stream:
            await stream.send(LARGE, compress=compress)
            with pytest.raises(nebula.Error, match=expected):
                await stream.receive()

    asyncio.run(on_a_loop())


def test_an_unknown_compression_is_a_value_error(address):
    with pytest.raises(ValueError, match="compression is"):
        nebula.connect(address, compression="snappy")
    with pytest.raises(ValueError, match="compression is"):
        nebula.serve(app_of(), compression="deflate")
    with nebula.connect(address) as channel, pytest.raises(ValueError, match="compression is"):
        channel.call("/hello/echo", {"text": "a"}, compression="GZIP")

"""Compressed messages between Nebula and stock gRPC (grpcio): gRPC's interop cases client_compressed_unary,
server_compressed_unary, client_compressed_streaming and server_compressed_streaming, with each in both places.

Whether a message was compressed is told by a peer that takes little: its words differ. That a broken or unknown one is
refused is in test_wire.py.
"""

from __future__ import annotations

import concurrent.futures
import json
from typing import Iterator

import pytest
from kit import PATIENCE, Background

import nebula

grpc = pytest.importorskip("grpc")

LARGE, OTHER = "m" * 271_828, "n" * 314_159  # the sizes of the interop cases
LITTLE = 100_000
OVER_COMPRESSED = "a compressed message is larger than the limit"


def dumps(value) -> bytes:
    return json.dumps(value).encode()


# ---- a stock client calls Nebula


def app_of() -> nebula.Service:
    app = nebula.Service("hello")

    @app.rpc
    def echo(text: str, ctx: nebula.Context) -> str:
        ctx.compress = "plain" not in ctx.metadata
        return text

    @app.rpc
    def total(texts: Iterator[str]) -> int:
        return sum(map(len, texts))

    @app.rpc
    def feed(texts: list[str], ctx: nebula.Context) -> Iterator[str]:
        for number, text in enumerate(texts):
            ctx.compress = number % 2 == 1
            yield text

    return app


def stock_client(server: Background) -> grpc.Channel:
    return grpc.insecure_channel(server.urls[0].removeprefix("tcp://"), options=(("grpc.use_local_subchannel_pool", 1),))


@pytest.fixture(params=["gzip", "zstd", None])
def stock(request):
    with Background(app_of(), address="tcp://127.0.0.1:0", compression=request.param) as server:
        with stock_client(server) as channel:
            yield channel


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.NoCompression, None])
@pytest.mark.parametrize("metadata", [(), (("plain", "1"),)])
def test_unary_calls_of_a_stock_client(stock, compression, metadata):
    echo = stock.unary_unary("/hello/echo", dumps, json.loads)
    for text in (LARGE, "small", ""):
        assert echo({"text": text}, timeout=PATIENCE, compression=compression, metadata=metadata) == text


def test_streams_of_a_stock_client(stock):
    total = stock.stream_unary("/hello/total", dumps, json.loads)
    assert total(iter([LARGE, OTHER]), timeout=PATIENCE, compression=grpc.Compression.Gzip) == len(LARGE + OTHER)
    feed = stock.unary_stream("/hello/feed", dumps, json.loads)
    assert list(feed({"texts": [LARGE, OTHER, LARGE]}, timeout=PATIENCE)) == [LARGE, OTHER, LARGE]


def test_requests_of_a_stock_client_are_compressed():
    with Background(app_of(), address="tcp://127.0.0.1:0", max_message=LITTLE) as server, stock_client(server) as channel:
        echo = channel.unary_unary("/hello/echo", dumps, json.loads)
        with pytest.raises(grpc.RpcError) as caught:
            echo({"text": LARGE}, timeout=PATIENCE, compression=grpc.Compression.Gzip)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert OVER_COMPRESSED in caught.value.details()


# ---- Nebula calls a stock server


@pytest.fixture(params=[grpc.Compression.Gzip, grpc.Compression.NoCompression])
def stock_address(request):
    def feed(texts, context):
        for number, text in enumerate(texts["texts"]):
            if number % 2 == 0:
                context.disable_next_message_compression()
            yield text

    how = {"request_deserializer": json.loads, "response_serializer": dumps}
    methods = {
        "echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request["text"], **how),
        "total": grpc.stream_unary_rpc_method_handler(lambda texts, context: sum(map(len, texts)), **how),
        "feed": grpc.unary_stream_rpc_method_handler(feed, **how),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), compression=request.param)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hello", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"tcp://127.0.0.1:{port}", request.param
    server.stop(None)


@pytest.mark.parametrize("compression", ["gzip", None])
def test_calls_to_a_stock_server(stock_address, compression):
    with nebula.connect(stock_address[0], compression=compression) as channel:
        for text in (LARGE, "small", ""):
            assert channel.call("/hello/echo", {"text": text}, timeout=PATIENCE) == text
        assert channel.call("/hello/total", iter([LARGE, OTHER]), timeout=PATIENCE) == len(LARGE + OTHER)
        texts = [LARGE, OTHER, LARGE]
        assert list(channel.stream("/hello/feed", {"texts": texts}, timeout=PATIENCE)) == texts
        with channel.open("/hello/total", timeout=PATIENCE) as stream:
            stream.send(LARGE)
            stream.send(OTHER, compress=False)
            stream.done_sending()
            assert stream.receive() == len(LARGE + OTHER)


def test_answers_of_a_stock_server_are_compressed(stock_address):
    address, compression = stock_address
    with nebula.connect(address, max_message=LITTLE) as channel, pytest.raises(nebula.Error) as caught:
        channel.call("/hello/echo", {"text": LARGE}, timeout=PATIENCE)
    assert caught.value.code == nebula.RESOURCE_EXHAUSTED
    assert (OVER_COMPRESSED in caught.value.message) == (compression == grpc.Compression.Gzip)


def test_a_compression_that_a_stock_server_does_not_know_is_an_error(stock_address):
    with nebula.connect(stock_address[0]) as channel, pytest.raises(nebula.Error) as caught:
        channel.call("/hello/echo", {"text": LARGE}, timeout=PATIENCE, compression="zstd")
    assert caught.value.code in (nebula.UNIMPLEMENTED, nebula.INTERNAL)  # what it should be, and what older ones say

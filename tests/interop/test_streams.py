"""Streams between Nebula and stock gRPC (grpcio), in both directions, on both sides asynchronous and not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
import time
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, Background, eventually
from streams_kit import Client, hinted

import nebula

grpc = pytest.importorskip("grpc")

MANY = 20_000
PATH = "/interop.v1.Streams/"


def loop_streams(echo, notes):
    app = nebula.Service("interop.v1.Streams")

    async def Feed(req, ctx):
        ctx.send_initial_metadata({"first": "1", "first-bin": b"\x00\xff"})
        ctx.set_trailing_metadata([("last", "2"), ("last-bin", b"\xff")])
        try:
            for number in range(req.answer_size):
                yield echo.EchoReply(text=str(number), payload=req.payload)
            if req.message == "hang":
                await asyncio.sleep(PATIENCE)
            if req.status:
                raise nebula.Error(req.status, req.message)
        finally:
            if ctx.cancelled:
                notes.cancelled.set()

    async def Gather(numbers, ctx):
        ctx.set_trailing_metadata({"last": "2"})
        texts = []
        async for request in numbers:
            texts.append(request.text)
            if request.status:
                raise nebula.Error(request.status, request.message)
        return echo.EchoReply(text="".join(texts))

    async def Chat(numbers, ctx):
        async for request in numbers:
            if request.status:
                raise nebula.Error(request.status, request.message)
            yield echo.EchoReply(text=request.text, payload=request.payload)

    request, reply = echo.EchoRequest, echo.EchoReply
    app.rpc(hinted(Feed, answer=AsyncIterator[reply], req=request, ctx=nebula.Context))
    app.rpc(hinted(Gather, AsyncIterator[request], reply, ctx=nebula.Context))
    app.rpc(hinted(Chat, AsyncIterator[request], AsyncIterator[reply], ctx=nebula.Context))
    return app


def thread_streams(echo, notes):
    app = nebula.Service("interop.v1.Streams")

    def Feed(req, ctx):
        ctx.send_initial_metadata({"first": "1", "first-bin": b"\x00\xff"})
        ctx.set_trailing_metadata([("last", "2"), ("last-bin", b"\xff")])
        for number in range(req.answer_size):
            yield echo.EchoReply(text=str(number), payload=req.payload)
        if req.message == "hang":
            eventually(lambda: ctx.cancelled)
            notes.cancelled.set()
        if req.status:
            raise nebula.Error(req.status, req.message)

    def Gather(numbers, ctx):
        ctx.set_trailing_metadata({"last": "2"})
        texts = []
        for request in numbers:
            texts.append(request.text)
            if request.status:
                raise nebula.Error(request.status, request.message)
        return echo.EchoReply(text="".join(texts))

    def Chat(numbers, ctx):
        for request in numbers:
            if request.status:
                raise nebula.Error(request.status, request.message)
            yield echo.EchoReply(text=request.text, payload=request.payload)

    request, reply = echo.EchoRequest, echo.EchoReply
    app.rpc(hinted(Feed, answer=Iterator[reply], req=request, ctx=nebula.Context))
    app.rpc(hinted(Gather, Iterator[request], reply, ctx=nebula.Context))
    app.rpc(hinted(Chat, Iterator[request], Iterator[reply], ctx=nebula.Context))
    return app


class TestStockClient:
    """grpcio calls Nebula."""

    @pytest.fixture(params=[loop_streams, thread_streams])
    def address(self, request, echo, notes):
        with Background(request.param(echo, notes), address="tcp://127.0.0.1:0", drain_timeout=0.1) as server:
            yield server.urls[0].removeprefix("tcp://")

    @pytest.fixture
    def stub(self, address, stubs):
        with grpc.insecure_channel(address) as channel:
            yield stubs.StreamsStub(channel)

    def test_server_stream(self, stub, echo):
        call = stub.Feed(echo.EchoRequest(answer_size=MANY), timeout=PATIENCE)
        assert [reply.text for reply in call] == [str(number) for number in range(MANY)]
        first, last = dict(call.initial_metadata()), [tuple(pair) for pair in call.trailing_metadata()]
        assert first["first"] == "1" and first["first-bin"] == b"\x00\xff"
        assert ("last", "2") in last and ("last-bin", b"\xff") in last

    def test_empty_stream(self, stub, echo):
        assert list(stub.Feed(echo.EchoRequest(), timeout=5)) == []
        assert stub.Gather(iter([]), timeout=5) == echo.EchoReply()
        assert list(stub.Chat(iter([]), timeout=5)) == []

    def test_client_stream(self, stub, echo):
        texts = [str(number) for number in range(MANY)]
        assert stub.Gather((echo.EchoRequest(text=text) for text in texts), timeout=PATIENCE).text == "".join(texts)

    def test_full_duplex(self, stub, echo):
        requests = queue.SimpleQueue()
        call = stub.Chat(iter(requests.get, None), timeout=PATIENCE)
        for number in range(200):
            requests.put(echo.EchoRequest(text=str(number)))
            assert next(call).text == str(number)
        requests.put(None)
        assert list(call) == []
        assert call.code() == grpc.StatusCode.OK

    def test_large_messages(self, stub, echo):
        big = bytes(range(256)) * 12_000
        replies = stub.Chat((echo.EchoRequest(payload=big) for _ in range(5)), timeout=PATIENCE)
        assert [reply.payload == big for reply in replies] == [True] * 5

    def test_errors_in_the_middle(self, stub, echo):
        call = stub.Feed(echo.EchoRequest(answer_size=3, status=10, message="enough"), timeout=5)
        texts = []
        with pytest.raises(grpc.RpcError) as caught:
            texts.extend(reply.text for reply in call)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.ABORTED, "enough")
        assert ("last", "2") in [tuple(pair) for pair in call.trailing_metadata()]
        with pytest.raises(grpc.RpcError) as caught:
            stub.Gather(iter([echo.EchoRequest(status=5, message="none")] * 1000), timeout=5)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Chat(iter([echo.EchoRequest(), echo.EchoRequest(status=5)]), timeout=5))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND

    def test_cancelling_and_deadlines(self, stub, echo, notes):
        call = stub.Feed(echo.EchoRequest(answer_size=1, message="hang"))
        assert next(call).text == "0"
        call.cancel()
        assert notes.cancelled.wait(PATIENCE)
        notes.cancelled.clear()
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.Feed(echo.EchoRequest(answer_size=1, message="hang"), timeout=0.1))
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert notes.cancelled.wait(PATIENCE)

    def test_a_slow_reader(self, stub, echo):
        call = stub.Feed(echo.EchoRequest(answer_size=500, payload=bytes(20_000)), timeout=PATIENCE)
        next(call)
        time.sleep(0.2)
        assert len(list(call)) == 499

    def test_grpc_aio(self, address, stubs, echo):
        async def main():
            async with grpc.aio.insecure_channel(address) as channel:
                stub = stubs.StreamsStub(channel)
                call = stub.Chat(timeout=PATIENCE)
                for number in range(100):
                    await call.write(echo.EchoRequest(text=str(number)))
                    assert (await call.read()).text == str(number)
                await call.done_writing()
                assert await call.read() == grpc.aio.EOF
                return [reply.text async for reply in stub.Feed(echo.EchoRequest(answer_size=50), timeout=5)]

        assert asyncio.run(main()) == [str(number) for number in range(50)]


class TestStockServer:
    """Nebula calls grpcio."""

    @pytest.fixture
    def url(self, echo, stubs, notes):
        class Streams(stubs.StreamsServicer):
            def Feed(self, request, context):
                context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00\xff")))
                context.set_trailing_metadata((("last", "2"), ("last-bin", b"\xff")))
                ended = threading.Event()
                context.add_callback(lambda: (notes.cancelled.set(), ended.set()))
                for number in range(request.answer_size):
                    yield echo.EchoReply(text=str(number), payload=request.payload)
                if request.message == "hang":
                    ended.wait(PATIENCE)
                self._end(request, context)

            def Gather(self, requests, context):
                texts = []
                for request in requests:
                    texts.append(request.text)
                    self._end(request, context)
                return echo.EchoReply(text="".join(texts))

            def Chat(self, requests, context):
                for request in requests:
                    self._end(request, context)
                    yield echo.EchoReply(text=request.text, payload=request.payload)

            @staticmethod
            def _end(request, context):
                if request.status:
                    code = next(code for code in grpc.StatusCode if code.value[0] == request.status)
                    context.abort(code, request.message)

        server = grpc.server(concurrent.futures.ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0),))
        stubs.add_StreamsServicer_to_server(Streams(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"tcp://127.0.0.1:{port}"
        server.stop(None).wait()

    @pytest.fixture(params=["aio", "sync"])
    def client(self, request, url):
        client = Client(url, "interop.v1.Streams", request.param)
        yield client
        client.close()

    def test_server_stream(self, client, echo):
        stream = client.stream("Feed", echo.EchoRequest(answer_size=MANY))  # the class of the answers is in the .proto
        assert stream.headers().get("first-bin") == b"\x00\xff"
        assert [reply.text for reply in stream] == [str(number) for number in range(MANY)]
        assert stream.trailers.get("last") == "2" and stream.trailers.get("last-bin") == b"\xff"

    def test_empty_stream(self, client, echo):
        assert list(client.stream("Feed", echo.EchoRequest())) == []
        assert client.call("Gather", iter([]), response=echo.EchoReply) == echo.EchoReply()
        assert list(client.stream("Chat", iter([]), response=echo.EchoReply)) == []

    def test_client_stream(self, client, echo):
        texts = [str(number) for number in range(MANY)]
        requests = (echo.EchoRequest(text=text) for text in texts)
        assert client.call("Gather", requests, response=echo.EchoReply).text == "".join(texts)

    def test_full_duplex(self, client, echo):
        with client.open("Chat", response=echo.EchoReply) as chat:
            for number in range(200):
                chat.send(echo.EchoRequest(text=str(number)))
                assert chat.receive().text == str(number)
            chat.done_sending()
            assert list(chat) == []

    def test_large_messages(self, client, echo):
        big = bytes(range(256)) * 12_000
        replies = client.stream("Chat", iter([echo.EchoRequest(payload=big)] * 5), response=echo.EchoReply)
        assert [reply.payload == big for reply in replies] == [True] * 5

    def test_errors_in_the_middle(self, client, echo):
        stream = client.stream("Feed", echo.EchoRequest(answer_size=3, status=10, message="enough"))
        assert [stream.receive().text for _ in range(3)] == ["0", "1", "2"]
        with pytest.raises(nebula.Error) as caught:
            stream.receive()
        assert str(caught.value) == "ABORTED: enough" and caught.value.metadata.get("last") == "2"
        with pytest.raises(nebula.Error) as caught:
            client.call("Gather", iter([echo.EchoRequest(status=5)] * 1000), response=echo.EchoReply)
        assert caught.value.code == nebula.NOT_FOUND and caught.value.fate is nebula.Fate.PROCESSED

    def test_cancelling_and_deadlines(self, client, echo, notes):
        with client.stream("Feed", echo.EchoRequest(answer_size=1, message="hang")) as stream:
            assert stream.receive().text == "0"
        with pytest.raises(nebula.Error):
            stream.receive()
        assert notes.cancelled.wait(PATIENCE)
        stream = client.stream("Feed", echo.EchoRequest(answer_size=1, message="hang"), timeout=0.1)
        with pytest.raises(nebula.Error) as caught:
            list(stream)
        assert caught.value.code == nebula.DEADLINE_EXCEEDED

    def test_a_slow_reader(self, client, echo):
        stream = client.stream("Feed", echo.EchoRequest(answer_size=500, payload=bytes(20_000)))
        stream.receive()
        time.sleep(0.2)
        assert len(list(stream)) == 499

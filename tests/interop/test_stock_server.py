"""A Nebula client calls a stock gRPC server (grpcio)."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
import time

import pytest
from kit import PATIENCE

import nebula

grpc = pytest.importorskip("grpc")
from grpc_health.v1 import health, health_pb2, health_pb2_grpc  # noqa: E402


class Server:
    """grpcio's own server with interop.v1.Echo, and a JSON method beside it."""

    def __init__(self, echo, stubs, notes, port=0, options=()):
        class Echo(stubs.EchoServicer):
            def Say(self, request, context):
                notes.metadata = [tuple(pair) for pair in context.invocation_metadata()]
                notes.left = context.time_remaining()
                context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00\xff\x10")))
                context.set_trailing_metadata((("last", "2"), ("last", "3"), ("last-bin", b"\xff\x00")))
                if request.status:
                    context.abort(
                        next(code for code in grpc.StatusCode if code.value[0] == request.status), request.message
                    )
                return echo.EchoReply(text=request.text, payload=request.payload or b"x" * request.answer_size)

            def Wait(self, request, context):
                ended = threading.Event()
                context.add_callback(lambda: (notes.cancelled.set(), ended.set()))
                notes.began.set()
                ended.wait(PATIENCE)
                return echo.EchoReply()

        def method(function, **serializers):
            return grpc.unary_unary_rpc_method_handler(function, **serializers)

        plain = {
            "greet": method(
                lambda fields, context: f"Hello {fields['name']}!",
                request_deserializer=json.loads,
                response_serializer=lambda value: json.dumps(value).encode(),
            ),
            "garbage": method(lambda data, context: b"\xff{"),
        }
        self.server = grpc.server(
            concurrent.futures.ThreadPoolExecutor(8), options=(("grpc.so_reuseport", 0), *options)
        )
        stubs.add_EchoServicer_to_server(Echo(), self.server)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hello", plain),))
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        assert self.port
        self.server.start()

    @property
    def url(self):
        return f"tcp://127.0.0.1:{self.port}"


@pytest.fixture
def make(echo, stubs, notes):
    made = []

    def start(**options):
        made.append(Server(echo, stubs, notes, **options))
        return made[-1]

    yield start
    for server in made:
        server.server.stop(None).wait()


@pytest.fixture(params=["sync", "aio"])
def call(request, make):
    """call(path, message, ...) -> nebula.Reply, in plain code and by asyncio."""
    channel = nebula.connect(make().url)

    def run(path, message, **options):
        options.setdefault("timeout", PATIENCE)
        if request.param == "sync":
            return channel.exchange(path, message, **options)

        async def main():
            return await channel.exchange(path, message, **options)

        return asyncio.run(main())

    yield run
    channel.close()


def failure(call, *args, **options):
    with pytest.raises(nebula.Error) as caught:
        call(*args, **options)
    return caught.value


SAY, WAIT = "/interop.v1.Echo/Say", "/interop.v1.Echo/Wait"


def test_protobuf(call, echo):
    request = echo.EchoRequest(text="Grüße 🎉", payload=bytes(range(256)))
    assert call(SAY, request).value == echo.EchoReply(text="Grüße 🎉", payload=bytes(range(256)))
    assert call(SAY, echo.EchoRequest()).value == echo.EchoReply()
    assert call(SAY, echo.EchoRequest(text="a").SerializeToString(), response=echo.EchoReply).value.text == "a"


def test_json(call):
    assert call("/hello/greet", {"name": "Ada"}).value == "Hello Ada!"


def test_by_the_client_of_a_service(make, echo):
    with nebula.connect(make().url) as channel:
        assert channel.service("hello", timeout=5).greet(name="Ada") == "Hello Ada!"
        assert channel.service("interop.v1.Echo", timeout=5).Say(echo.EchoRequest(text="a")).text == "a"


def test_metadata_both_ways(call, echo, notes):
    sent = [("a", "1"), ("a", "2"), ("key-bin", b"\x00\x01\xfe\xff"), ("text", "with, comma and = sign")]
    reply = call(SAY, echo.EchoRequest(), metadata=sent)
    assert [pair for pair in notes.metadata if pair[0] in ("a", "key-bin", "text")] == sent
    assert reply.headers.get("first") == "1" and reply.headers.get("first-bin") == b"\x00\xff\x10"
    assert reply.trailers.get_all("last") == ["2", "3"] and reply.trailers.get("last-bin") == b"\xff\x00"


@pytest.mark.parametrize("message", ["plain", "keine № 7, 100% sicher", "a\nb\tc\x01", "%41 is not A", "🎉" * 50, ""])
def test_status_and_message(call, echo, message):
    error = failure(call, SAY, echo.EchoRequest(status=5, message=message))
    assert (error.code, error.message) == (nebula.NOT_FOUND, message)
    assert error.metadata.get_all("last") == ["2", "3"] and error.metadata.get("last-bin") == b"\xff\x00"


def test_every_code_arrives(make, echo):
    with nebula.connect(make().url) as channel:
        for code in nebula.Code:
            if code:
                assert failure(channel.call, SAY, echo.EchoRequest(status=code, message="m"), timeout=5).code is code


def test_the_deadline_travels_and_is_kept_on_both_sides(call, echo, notes):
    call(SAY, echo.EchoRequest(), timeout=30)
    assert 25 < notes.left < 31
    began = time.monotonic()
    assert failure(call, WAIT, echo.EchoRequest(), timeout=0.2).code == nebula.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 2 and notes.cancelled.wait(PATIENCE)


def test_cancelling_reaches_the_server(make, echo, notes):
    async def main():
        async with nebula.connect(make().url) as channel:
            task = asyncio.ensure_future(channel.call(WAIT, echo.EchoRequest()))
            assert await asyncio.to_thread(notes.began.wait, PATIENCE)
            task.cancel()
            assert await asyncio.to_thread(notes.cancelled.wait, PATIENCE)
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())


def test_closing_the_channel_reaches_the_server(make, echo, notes):
    async def main():
        channel = nebula.connect(make().url)
        task = asyncio.ensure_future(channel.call(WAIT, echo.EchoRequest()))
        assert await asyncio.to_thread(notes.began.wait, PATIENCE)
        channel.close()
        with pytest.raises(nebula.Error) as caught:
            await task
        assert caught.value.code == nebula.CANCELLED
        assert await asyncio.to_thread(notes.cancelled.wait, PATIENCE)

    asyncio.run(main())


def test_an_answer_over_the_limit_fails_alone(call, echo):
    assert len(call(SAY, echo.EchoRequest(answer_size=4_000_000)).value.payload) == 4_000_000
    for size in (5_000_000, 64_000_000):
        assert failure(call, SAY, echo.EchoRequest(answer_size=size)).code == nebula.RESOURCE_EXHAUSTED
    assert call(SAY, echo.EchoRequest(text="a")).value.text == "a"


def test_a_limit_of_ones_own(make, echo):
    server = make(options=(("grpc.max_receive_message_length", -1),))
    with nebula.connect(server.url, max_message=32 << 20) as channel:
        payload = bytes(range(256)) * 80_000
        assert channel.call(SAY, echo.EchoRequest(payload=payload), timeout=PATIENCE).payload == payload


def test_a_request_that_the_server_finds_too_large_fails_alone(call, echo):
    assert failure(call, SAY, echo.EchoRequest(payload=b"x" * 5_000_000)).code == nebula.RESOURCE_EXHAUSTED
    assert call(SAY, echo.EchoRequest(text="a")).value.text == "a"


def test_large_metadata_passes(call, echo, notes):
    call(SAY, echo.EchoRequest(), metadata={"big": "x" * 6_000})
    assert dict(notes.metadata)["big"] == "x" * 6_000


def test_an_unknown_method_is_unimplemented(call, echo):
    for path in ("/interop.v1.Echo/Nope", "/nobody/say"):
        assert failure(call, path, {}).code == nebula.UNIMPLEMENTED


def test_a_malformed_answer_is_internal(call, echo):
    assert failure(call, "/hello/garbage", {}).code == nebula.INTERNAL
    assert failure(call, "/hello/garbage", b"", response=echo.EchoReply).code == nebula.INTERNAL
    assert call("/hello/garbage", b"").value == b"\xff{"


def test_health(make):
    server = make()
    server.health.set("hello", health_pb2.HealthCheckResponse.NOT_SERVING)
    with nebula.connect(server.url) as channel:
        request = health_pb2.HealthCheckRequest(service="hello")
        reply = channel.call("/grpc.health.v1.Health/Check", request, timeout=5)
        assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_server_that_takes_few_streams_at_once(make, echo):
    server = make(options=(("grpc.max_concurrent_streams", 3),))

    # grpcio counts streams that have ended for a moment longer, and refuses what is beyond: that waits for its turn.
    async def say(channel, text):
        return (await channel.call(SAY, echo.EchoRequest(text=text), timeout=PATIENCE)).text

    async def main():
        async with nebula.connect(server.url) as channel:
            return await asyncio.gather(*(say(channel, str(i)) for i in range(200)))

    assert asyncio.run(main()) == [str(i) for i in range(200)]


def test_many_calls_at_once(make, echo):
    async def main():
        async with nebula.connect(make().url) as channel:
            replies = await asyncio.gather(
                *(channel.call(SAY, echo.EchoRequest(text=str(i)), timeout=60) for i in range(900))
            )
            return [reply.text for reply in replies]

    assert asyncio.run(main()) == [str(i) for i in range(900)]  # from 1,000 waiting calls on grpcio refuses some


def test_a_server_that_stops_and_comes_back(make, echo):
    first = make()
    with nebula.connect(first.url) as channel:
        assert channel.call(SAY, echo.EchoRequest(text="a"), timeout=5).text == "a"
        first.server.stop(None).wait()
        assert failure(channel.call, SAY, echo.EchoRequest(), timeout=5).code == nebula.UNAVAILABLE
        make(port=first.port)
        assert channel.call(SAY, echo.EchoRequest(text="b"), wait_for_ready=True, timeout=PATIENCE).text == "b"


def test_a_server_that_stops_lets_a_running_call_end(make, echo, notes):
    server = make()
    with nebula.connect(server.url) as channel:
        ended = []
        thread = threading.Thread(
            target=lambda: ended.append(failure(channel.call, WAIT, echo.EchoRequest(), timeout=PATIENCE).code)
        )
        thread.start()
        assert notes.began.wait(PATIENCE)
        server.server.stop(0.3).wait()
        thread.join(PATIENCE)
        assert ended in ([nebula.UNAVAILABLE], [nebula.CANCELLED])


def test_grpc_aio_server(stubs, echo):
    class Echo(stubs.EchoServicer):
        async def Say(self, request, context):
            return echo.EchoReply(text=request.text)

    async def main():
        server = grpc.aio.server()
        stubs.add_EchoServicer_to_server(Echo(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with nebula.connect(f"tcp://127.0.0.1:{port}") as channel:
                replies = await asyncio.gather(
                    *(channel.call(SAY, echo.EchoRequest(text=str(i)), timeout=PATIENCE) for i in range(100))
                )
                return [reply.text for reply in replies]
        finally:
            await server.stop(None)

    assert asyncio.run(main()) == [str(i) for i in range(100)]

"""Streams that end otherwise: errors in the middle, early ends, cancelling, deadlines, lost references."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, aio, eventually
from streams_kit import Client

import nebula


class Seen:
    """What the handlers have seen of their ends."""

    def __init__(self):
        self.ended = []

    def once(self, what):
        eventually(lambda: what in self.ended)


@pytest.fixture
def seen():
    return Seen()


def loop_handlers(seen):
    app = nebula.Service("loop")

    @app.rpc
    async def ticks(ctx: nebula.Context, fail_at: int = -1) -> AsyncIterator[int]:
        ctx.send_initial_metadata({"first": "1"})
        ctx.set_trailing_metadata({"last": "2"})
        number = 0
        try:
            while True:
                if number == fail_at:
                    raise nebula.Error(nebula.ABORTED, f"at {number}")
                yield number
                number += 1
                await asyncio.sleep(0.001)
        finally:
            seen.ended.append("cancelled" if ctx.cancelled else "failed")

    @app.rpc
    async def first(numbers: AsyncIterator[int], ctx: nebula.Context) -> int:
        ctx.set_trailing_metadata({"last": "2"})
        async for number in numbers:
            if number < 0:
                raise nebula.Error(nebula.OUT_OF_RANGE, "negative")
            return number
        return -1

    @app.rpc
    async def echo(numbers: AsyncIterator[int], ctx: nebula.Context) -> AsyncIterator[int]:
        try:
            async for number in numbers:
                yield number
        finally:
            seen.ended.append("cancelled" if ctx.cancelled else "done")

    @app.rpc
    async def wrong() -> AsyncIterator[int]:
        yield 1
        yield "two"

    @app.rpc
    async def bug() -> AsyncIterator[int]:
        yield 1
        raise KeyError("x")

    return app


def thread_handlers(seen):
    app = nebula.Service("threads")

    @app.rpc
    def ticks(ctx: nebula.Context, fail_at: int = -1) -> Iterator[int]:
        ctx.send_initial_metadata({"first": "1"})
        ctx.set_trailing_metadata({"last": "2"})
        number = 0
        try:
            while True:
                if number == fail_at:
                    raise nebula.Error(nebula.ABORTED, f"at {number}")
                yield number
                number += 1
                time.sleep(0.001)
        finally:
            seen.ended.append("cancelled" if ctx.cancelled else "failed")

    @app.rpc
    def first(numbers: Iterator[int], ctx: nebula.Context) -> int:
        ctx.set_trailing_metadata({"last": "2"})
        number = next(numbers, -1)
        if number < -1:
            raise nebula.Error(nebula.OUT_OF_RANGE, "negative")
        return number

    @app.rpc
    def echo(numbers: Iterator[int], ctx: nebula.Context) -> Iterator[int]:
        try:
            yield from numbers
        finally:
            seen.ended.append("cancelled" if ctx.cancelled else "done")

    @app.rpc
    def wrong() -> Iterator[int]:
        yield 1
        yield "two"

    @app.rpc
    def bug() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    return app


@pytest.fixture
def url(serving, seen):
    return serving(loop_handlers(seen), thread_handlers(seen), address="tcp://127.0.0.1:0").urls[0]


@pytest.fixture(params=["loop", "threads"])
def name(request):
    return request.param


@pytest.fixture(params=["aio", "sync"])
def client(request, url, name):
    client = Client(url, name, request.param)
    yield client
    client.close()


def test_an_error_in_the_middle_comes_after_the_messages_with_metadata(client, seen):
    stream = client.stream("ticks", fail_at=3)
    assert stream.headers().get("first") == "1"
    assert [stream.receive() for _ in range(3)] == [0, 1, 2]
    with pytest.raises(nebula.Error) as caught:
        stream.receive()
    assert str(caught.value) == "ABORTED: at 3"
    assert caught.value.metadata.get("last") == stream.trailers.get("last") == "2"
    assert (caught.value.fate, caught.value.fault) == (nebula.Fate.PROCESSED, nebula.Fault.CALLEE)
    with pytest.raises(nebula.Error):
        stream.receive()  # and again
    seen.once("failed")


def test_a_bug_in_the_middle_is_unknown_and_a_wrong_answer_internal(client, name, caplog):
    for method, text in (
        ("bug", "UNKNOWN: KeyError: 'x'"),
        ("wrong", f'INTERNAL: {name}.wrong: the result must be an integer, not a string'),
    ):
        stream = client.stream(method)
        assert stream.receive() == 1
        with pytest.raises(nebula.Error) as caught:
            stream.receive()
        assert str(caught.value) == text


def test_an_error_of_a_stream_of_requests(client):
    with pytest.raises(nebula.Error) as caught:
        client.call("first", iter([-5]))
    assert caught.value.code == nebula.OUT_OF_RANGE and caught.value.metadata.get("last") == "2"
    with pytest.raises(nebula.Error) as caught:
        client.call("first", iter(["five"]))
    assert caught.value.code == nebula.INVALID_ARGUMENT and "must be an integer, not a string" in caught.value.message


def test_a_server_may_answer_before_the_requests_end(client):
    def endless():
        while True:
            yield 7

    assert client.call("first", endless()) == 7
    with client.open("first") as stream:
        stream.send(7)
        assert stream.receive() == 7
        with pytest.raises(EOFError):
            stream.receive()
        with pytest.raises(EOFError, match="the stream has ended"):
            for _ in range(1000):
                stream.send(8)


def test_a_stream_to_nobody_fails(client, name):
    for method in ("nope", "ticks"):
        stream = client.stream(method, {"fail_at": "x"})
        with pytest.raises(nebula.Error) as caught:
            stream.headers()
        assert caught.value.code == (nebula.UNIMPLEMENTED if method == "nope" else nebula.INVALID_ARGUMENT)
        with pytest.raises(nebula.Error):
            next(stream)


def test_the_callers_iterator_may_fail(client):
    def failing():
        yield 1
        raise LookupError("no more")

    stream = client.stream("echo", failing())
    with pytest.raises(LookupError, match="no more"):
        list(stream)
    with pytest.raises(LookupError, match="no more"):
        client.call("first", _failing_first())


def _failing_first():
    raise LookupError("no more")
    yield


def test_the_caller_cancels(client, seen):
    stream = client.stream("ticks")
    assert stream.receive() == 0
    stream.cancel()
    with pytest.raises(nebula.Error) as caught:
        while True:
            stream.receive()
    assert (caught.value.code, caught.value.fate) == (nebula.CANCELLED, nebula.Fate.PROCESSED)  # it had answered
    stream.cancel()  # harmless
    seen.once("cancelled")


def test_leaving_a_with_block_cancels(client, seen):
    with client.open("echo") as stream:
        stream.send(1)
        assert stream.receive() == 1
    with pytest.raises(nebula.Error):
        stream.receive()
    seen.once("cancelled")


def test_a_deadline_in_the_middle(client, seen):
    began = time.monotonic()
    stream = client.stream("ticks", {}, timeout=0.1)
    with pytest.raises(nebula.Error) as caught:
        list(stream)
    assert caught.value.code == nebula.DEADLINE_EXCEEDED and 0.09 < time.monotonic() - began < PATIENCE / 2
    seen.once("cancelled")
    with pytest.raises(nebula.Error) as caught, client.open("echo", timeout=0.05) as stream:
        stream.receive()
    assert caught.value.code == nebula.DEADLINE_EXCEEDED


def test_leaving_a_loop_cancels_what_nobody_refers_to(url, name, seen):
    for _ in nebula.connect(url).service(name).ticks.stream():
        break
    seen.once("cancelled")
    seen.ended.clear()

    async def main():
        async for _ in nebula.connect(url).service(name).ticks.stream():
            break
        while "cancelled" not in seen.ended:
            await asyncio.sleep(0.001)

    aio(main)


def test_a_stream_that_is_dropped_by_another_thread_is_cancelled(url, name, seen):
    async def main():
        stream = nebula.connect(url).service(name).ticks.stream()
        await stream.receive()
        thread = threading.Thread(target=lambda held: (held.pop(), gc.collect()), args=([stream],))
        del stream
        thread.start()
        thread.join()
        while "cancelled" not in seen.ended:
            await asyncio.sleep(0.001)

    aio(main)


def test_cancelling_a_task_cancels_its_stream(url, name, seen):
    async def read():
        async for _ in nebula.connect(url).service(name).ticks.stream():
            pass

    async def main():
        task = asyncio.ensure_future(read())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        while "cancelled" not in seen.ended:
            await asyncio.sleep(0.001)

    aio(main)


def test_waiting_for_a_while_leaves_the_stream_open(url, name):
    async def main():
        async with nebula.connect(url).service(name).echo.open() as stream:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(stream.receive(), 0.02)
            await stream.send(3)
            return await stream.receive()

    assert aio(main) == 3


def test_a_server_that_closes_cancels_its_handlers(serving, seen):
    server = serving(loop_handlers(seen), address="tcp://127.0.0.1:0")
    stream = nebula.connect(server.urls[0]).service("loop", timeout=PATIENCE).ticks.stream()
    assert next(stream) == 0
    server._port.loop.call_soon_threadsafe(server.close)
    with pytest.raises(nebula.Error) as caught:
        list(stream)
    assert caught.value.code in (nebula.UNAVAILABLE, nebula.CANCELLED)
    seen.once("cancelled")


def test_another_thread_may_send_while_the_first_receives(url, name):
    with nebula.connect(url).service(name, timeout=PATIENCE).echo.open() as stream:

        def send():
            for number in range(5000):
                stream.send(number)
            stream.done_sending()

        thread = threading.Thread(target=send)
        thread.start()
        assert list(stream) == list(range(5000))
        thread.join()


def test_a_stream_may_be_handed_to_another_thread(url, name):
    service = nebula.connect(url).service(name, timeout=PATIENCE)
    stream, got = service.echo.stream(iter(range(5000))), []
    thread = threading.Thread(target=lambda: got.extend(stream))
    thread.start()
    thread.join(PATIENCE)
    assert got == list(range(5000))
    assert service.first(iter([4])) == 4  # this thread's port is its own again


def test_threads_share_what_one_has_opened(url, name):
    service = nebula.connect(url).service(name, timeout=PATIENCE)
    streams = [service.echo.stream(iter(range(2000))) for _ in range(8)]
    got = [[] for _ in streams]
    threads = [threading.Thread(target=one.extend, args=(stream,)) for one, stream in zip(got, streams)]
    for thread in threads:
        thread.start()
    assert service.first(iter([4])) == 4
    for thread in threads:
        thread.join(PATIENCE)
    assert got == [list(range(2000))] * 8

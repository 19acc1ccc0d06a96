"""Slow readers stop senders, in both directions, and memory stays within bounds; streams at the end of a process."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, aio
from streams_kit import hinted

import nebula

# What may be under way of one stream: two windows of HTTP/2, the send buffers, and what the binding holds.
UNDER_WAY_MAX = 4 << 20
MESSAGE = "x" * 10_000


@pytest.fixture
def sent():
    return []


@pytest.fixture
def url(serving, sent):
    """Fast senders, and readers that read when they are told to."""
    app = nebula.Service("flow")

    @app.rpc
    async def feed(size: int = len(MESSAGE)) -> AsyncIterator[str]:
        while True:
            yield "x" * size
            sent.append(size)

    @app.rpc
    def thread_feed(size: int = len(MESSAGE)) -> Iterator[str]:
        while True:
            yield "x" * size
            sent.append(size)

    @app.rpc
    async def lazy(messages: AsyncIterator[str]) -> AsyncIterator[int]:
        yield 0
        while not app.go.is_set():
            await asyncio.sleep(0.001)
        yield sum([len(message) async for message in messages])

    @app.rpc
    def thread_lazy(messages: Iterator[str]) -> Iterator[int]:
        yield 0
        app.go.wait(PATIENCE)
        yield sum(map(len, messages))

    @app.rpc
    def go() -> None:
        app.go.set()

    app.go = threading.Event()
    return serving(app, address="tcp://127.0.0.1:0").urls[0]


def stands_still(sent):
    """How many bytes had been sent when no more were."""
    before = -1
    while len(sent) != before:
        before = len(sent)
        time.sleep(0.1)
    return sum(sent)


@pytest.mark.parametrize("method", ["feed", "thread_feed"])
def test_a_slow_reader_stops_a_fast_sender(url, sent, method):
    stream = nebula.connect(url).service("flow", timeout=PATIENCE)[method].stream()
    assert stream.receive() == MESSAGE
    assert stands_still(sent) < UNDER_WAY_MAX
    for _ in range(1000):
        assert stream.receive() == MESSAGE
    assert 1000 * len(MESSAGE) < stands_still(sent) < 1000 * len(MESSAGE) + UNDER_WAY_MAX


@pytest.mark.parametrize("method", ["feed", "thread_feed"])
def test_a_slow_task_stops_a_fast_sender_while_its_loop_runs(url, sent, method):
    async def main():
        service = nebula.connect(url).service("flow", timeout=PATIENCE)
        stream = service[method].stream()
        assert await stream.receive() == MESSAGE
        await asyncio.sleep(0.3)  # the loop takes what comes; the stream is held
        held = len(stream._flow.inbox)
        before = sum(sent)
        await asyncio.sleep(0.1)
        assert sum(sent) == before < UNDER_WAY_MAX and held * len(MESSAGE) < 400_000
        other = service[method].stream()
        for _ in range(1000):  # and holds up no other
            await other.receive()
        for _ in range(1000):
            assert await stream.receive() == MESSAGE

    aio(main)


def test_small_messages_have_bounds_too(serving, shop):
    app = nebula.Service("small")

    async def feed(request):
        while True:
            yield shop.AddReply()  # which is empty

    app.rpc(hinted(feed, answer=AsyncIterator[shop.AddReply], request=shop.AddRequest))
    url = serving(app, address="tcp://127.0.0.1:0").urls[0]

    async def main():
        service = nebula.connect(url).service("small", timeout=PATIENCE)
        stream = service.feed.stream(shop.AddRequest(), response=shop.AddReply)
        assert await stream.receive() == shop.AddReply()
        while len(stream._flow.inbox) < 2000:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert len(stream._flow.inbox) <= 2048
        for _ in range(10_000):
            await stream.receive()

    aio(main)


@pytest.mark.parametrize("method", ["lazy", "thread_lazy"])
@pytest.mark.parametrize("mode", ["aio", "sync"])
def test_a_slow_handler_stops_a_fast_caller(url, method, mode):
    drawn = 0

    def messages():
        nonlocal drawn
        while drawn < 2000:
            drawn += 1
            yield MESSAGE

    async def on_loop():
        service = nebula.connect(url).service("flow", timeout=PATIENCE)
        stream = service[method].stream(messages())
        assert await stream.receive() == 0
        await asyncio.sleep(0.3)
        before = drawn
        await asyncio.sleep(0.1)
        assert drawn == before < UNDER_WAY_MAX // len(MESSAGE)
        await service.go()
        return await stream.receive()

    def plain():
        service = nebula.connect(url).service("flow", timeout=PATIENCE)
        stream = service[method].stream(messages())
        assert stream.receive() == 0
        for _ in range(4):
            time.sleep(0.05)
            service["go"]._service._channel.call("/grpc.health.v1.Health/Check", b"")  # it polls
        assert drawn < UNDER_WAY_MAX // len(MESSAGE)
        service.go()
        return stream.receive()

    assert (aio(on_loop) if mode == "aio" else plain()) == 2000 * len(MESSAGE)
    assert drawn == 2000


def test_a_message_larger_than_what_is_held(url):
    big = "x" * 3_000_000

    async def main():
        async with nebula.connect(url).service("flow", timeout=PATIENCE).lazy.open() as stream:
            assert await stream.receive() == 0
            await nebula.connect(url).service("flow").go()
            for _ in range(3):
                await stream.send(big)
            await stream.done_sending()
            return await stream.receive()

    assert aio(main) == 9_000_000


PROGRAM = """
    import asyncio, sys, threading
    import nebula
    url, how = sys.argv[1:]
    service = nebula.connect(url, mode="sync").service("flow")
    if how == "aio":
        async def main():
            global stream
            stream = nebula.connect(url).service("flow").feed.stream()
            print(len(await stream.receive()))
        asyncio.run(main())
    elif how == "feeding":
        def endless():
            while True:
                yield "x" * 10000
        stream = service.lazy.stream(endless())
        print(10000 + stream.receive())
    else:
        stream = service.feed.stream()
        print(len(stream.receive()))
"""


@pytest.mark.parametrize("how", ["aio", "sync", "feeding"])
def test_a_process_may_end_with_open_streams(program, url, how):
    ending = program(PROGRAM, url, how)
    assert ending.line() == "10000"
    assert ending.end() == (0, "", "")


def test_a_server_process_ends_with_open_streams(program):
    server = program("""
        import nebula, sys
        from typing import AsyncIterator, Iterator
        app = nebula.Service("ending")

        @app.rpc
        def feed(numbers: Iterator[int]) -> Iterator[int]:
            yield 1
            yield from numbers

        @app.rpc
        async def wait(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
            yield 1
            async for number in numbers:
                yield number

        nebula.run(app, "tcp://127.0.0.1:0", drain_timeout=0.2)
    """)
    url = server.line().split()[-1]
    service = nebula.connect(url).service("ending", timeout=PATIENCE)
    streams = [service.feed.open(), service.wait.open()]
    assert [stream.receive() for stream in streams] == [1, 1]
    server.send(15)
    for stream in streams:
        with pytest.raises(nebula.Error):
            stream.receive()
    assert server.end() == (0, "", "")


def test_a_forked_child_drops_the_streams_of_its_parent(program, url):
    child = program(
        """
        import gc, os, sys
        import nebula
        service = nebula.connect(sys.argv[1]).service("flow", timeout=10)
        stream = service.feed.stream()
        stream.receive()
        if os.fork() == 0:
            del stream
            gc.collect()
            assert len(service.feed.stream().receive()) == 10000
            sys.exit(0)
        _, status = os.wait()
        print(status, len(stream.receive()))
        """,
        url,
    )
    assert child.end() == (0, "0 10000\n", "")

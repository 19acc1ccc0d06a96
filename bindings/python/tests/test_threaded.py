"""Servers whose I/O is done by threads of the engine: the same calls, the same ends."""

from __future__ import annotations

import asyncio
import pathlib
import signal
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, aio, eventually

import nebula

app = nebula.Service("threads")


@app.rpc
def on_thread(text: str) -> str:
    return text


@app.rpc
async def on_loop(text: str) -> str:
    return text


@app.rpc
async def count(to: int) -> AsyncIterator[int]:
    for number in range(to):
        yield number


@app.rpc
def count_on_thread(to: int) -> Iterator[int]:
    yield from range(to)


@app.rpc
async def total(numbers: AsyncIterator[int]) -> int:
    return sum([number async for number in numbers])


@app.rpc
async def hang() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def server(serving):
    return serving(app, address="tcp://127.0.0.1:0", threaded=True)


@pytest.fixture
def service(server):
    with nebula.connect(server.urls[0]) as channel:
        yield channel.service("threads", timeout=PATIENCE)


def io_threads():
    names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    return names.count("nebula-io")


def test_threads_of_the_engine_serve_it(server):
    assert io_threads() > 0


@pytest.mark.parametrize("method", ["on_thread", "on_loop"])
def test_calls_are_answered(service, method):
    for text in ("", "a", "b" * 1_000_000):
        assert getattr(service, method)(text=text) == text


@pytest.mark.parametrize("method", ["count", "count_on_thread"])
def test_a_stream_of_answers_keeps_its_order(service, method):
    assert list(getattr(service, method).stream(to=2000)) == list(range(2000))


def test_a_stream_of_requests_is_read_to_its_end(service):
    assert service.total(iter(range(2000))) == sum(range(2000))


def test_a_handler_hears_that_its_caller_has_gone(server):
    with nebula.connect(server.urls[0]) as channel, pytest.raises(nebula.Error) as caught:
        channel.service("threads", timeout=0.05).hang()
    assert caught.value.code == nebula.DEADLINE_EXCEEDED
    eventually(lambda: not server._running)


def test_leaving_the_block_lets_running_calls_end():
    slow = nebula.Service("slow")
    begun, may_end = asyncio.Event(), asyncio.Event()

    @slow.rpc
    async def wait() -> str:
        begun.set()
        await may_end.wait()
        return "whole"

    async def main():
        async with nebula.serve(slow, address="tcp://127.0.0.1:0", threaded=True) as server:
            with nebula.connect(server.urls[0]) as channel:
                call = asyncio.ensure_future(channel.service("slow", timeout=PATIENCE).wait())
                await begun.wait()
                drained = asyncio.ensure_future(server.drain(PATIENCE))
                await asyncio.sleep(0)
                may_end.set()
                assert await call == "whole"
                await drained

    aio(main)


def test_both_kinds_of_server_share_a_loop():
    async def main():
        kinds = (True, False, True)
        servers = [nebula.serve(app, address="tcp://127.0.0.1:0", threaded=threaded) for threaded in kinds]
        for server in servers:
            await server.start()
        for server in servers:
            with nebula.connect(server.urls[0]) as channel:
                assert await channel.service("threads", timeout=PATIENCE).on_loop(text="a") == "a"
            server.close()

    aio(main)


def test_run_takes_it_and_ends_in_order(program):
    source = """
        import nebula
        app = nebula.Service("run-threaded")
        app.rpc(lambda: 1, name="f")
        app.run("tcp://127.0.0.1:0", threaded=True, drain_timeout=0.1)
        print("ended")
    """
    running = program(source)
    url = running.line().split()[-1]
    with nebula.connect(url) as channel:
        assert channel.service("run-threaded", timeout=PATIENCE).f() == 1
    running.send(signal.SIGTERM)
    assert running.end() == (0, "ended\n", "")


@pytest.mark.parametrize("wrong", [1, None, "yes"])
def test_it_is_on_or_off(wrong):
    with pytest.raises(TypeError, match=f"^threaded is True or False, not {wrong!r}$"):
        nebula.serve(app, threaded=wrong)

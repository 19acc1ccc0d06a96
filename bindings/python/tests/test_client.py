"""Calling: synchronously from threads, from asyncio, by address."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
import weakref

import pytest
from kit import PATIENCE, aio, eventually

import nebula
from nebula import engine


@pytest.fixture
def url(serving):
    app = nebula.Service("echo")

    @app.rpc
    async def say(text: str = "") -> str:
        return text

    @app.rpc
    async def wait() -> None:
        await asyncio.sleep(PATIENCE)

    return serving(app, address="tcp://127.0.0.1:0").urls[0]


def test_a_call_returns_in_plain_code_and_is_awaited_in_a_loop(url):
    with nebula.connect(url) as channel:
        client = channel.service("echo", timeout=5)
        assert client.say(text="a") == "a"

        async def main():
            call = client.say(text="b")
            assert asyncio.iscoroutine(call)
            assert await call == "b"
            # Another thread of the same program has no loop.
            assert await asyncio.to_thread(lambda: client.say(text="c")) == "c"
            return await asyncio.wait_for(asyncio.create_task(client.say(text="d")), 5)

        assert aio(main) == "d"
        assert client.say(text="e") == "e"


def test_the_mode_can_be_said_outright(url):
    with nebula.connect(url) as channel:
        waits = channel.service("echo", timeout=5, mode="aio")
        assert asyncio.run(waits.say(text="a")) == "a"
        blocks = channel.service("echo", timeout=5, mode="sync")

        async def main():
            return blocks.say(text="b")

        assert aio(main) == "b"
        with pytest.raises(ValueError, match="mode"):
            channel.service("echo", mode="async")


def test_asyncio_run_may_be_used_again_and_again(url):
    channel = nebula.connect(url)
    for text in "abc":
        assert asyncio.run(channel.service("echo", mode="aio").say(text=text)) == text


def test_a_loop_that_is_closed_gives_its_queue_back(url):
    async def main():
        async with nebula.connect(url) as channel:
            await channel.service("echo").say()
        return weakref.ref(engine.loop_port(asyncio.get_running_loop()))

    ports = [asyncio.run(main()) for _ in range(3)]
    gc.collect()
    assert [port() for port in ports] == [None] * 3


def test_a_thread_that_ends_gives_its_queue_back(url):
    def descriptors():
        return len(os.listdir("/proc/self/fd"))

    with nebula.connect(url) as channel:
        client = channel.service("echo", timeout=5)
        client.say()
        before = descriptors()
        for _ in range(3):
            threads = [threading.Thread(target=client.say) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        # The server closes its ends when it hears of it.
        eventually(lambda: descriptors() <= before)


def test_many_threads_call_at_once(url):
    with nebula.connect(url) as channel:
        client = channel.service("echo", timeout=PATIENCE)
        wrong = []

        def work(number):
            for i in range(50):
                text = f"{number}.{i}"
                if client.say(text=text) != text:
                    wrong.append(text)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not wrong and not any(thread.is_alive() for thread in threads)


def test_other_threads_run_while_one_waits(url):
    with nebula.connect(url) as channel:
        ticks, go = 0, True

        def tick():
            nonlocal ticks
            while go:
                ticks += 1
                time.sleep(0.001)

        thread = threading.Thread(target=tick)
        thread.start()
        with pytest.raises(nebula.Error) as caught:
            channel.service("echo", timeout=0.2).wait()
        go = False
        thread.join()
        assert caught.value.code == nebula.DEADLINE_EXCEEDED and ticks > 20


@pytest.mark.parametrize("timeout", [0, -1, 1e-9])
def test_a_deadline_that_has_passed_fails_the_call(url, timeout):
    with nebula.connect(url) as channel, pytest.raises(nebula.Error) as caught:
        channel.service("echo", timeout=timeout).wait()
    assert caught.value.code == nebula.DEADLINE_EXCEEDED


def test_an_endless_deadline_is_none(url):
    with nebula.connect(url) as channel:
        assert channel.service("echo", timeout=float("inf")).say(text="a") == "a"
        assert channel.service("echo", timeout=1e12).say(text="a") == "a"
        with pytest.raises(ValueError):
            channel.service("echo", timeout=float("nan")).say(text="a")


def test_a_closed_channel_fails_its_calls(url):
    channel = nebula.connect(url)

    async def main():
        call = asyncio.ensure_future(channel.service("echo").wait())
        assert await channel.service("echo").say(text="a") == "a"
        channel.close()
        with pytest.raises(nebula.Error) as caught:
            await call
        assert caught.value.code == nebula.CANCELLED
        with pytest.raises(RuntimeError, match="closed"):
            await channel.service("echo").say()

    aio(main)
    with pytest.raises(RuntimeError, match="closed"):
        channel.service("echo").say()
    channel.close()


def test_a_channel_closed_by_another_thread_ends_a_call_that_blocks(url):
    channel = nebula.connect(url)
    caught = []

    def work():
        try:
            channel.service("echo").wait()
        except nebula.Error as error:
            caught.append(error.code)

    thread = threading.Thread(target=work)
    thread.start()
    # Until the call is under way there.
    eventually(lambda: any(port.pending for port in engine._all_ports() if isinstance(port, engine.ThreadPort)))
    channel.close()
    thread.join(PATIENCE)
    assert caught == [nebula.CANCELLED]


def test_nobody_at_an_address_is_unavailable(url):
    with nebula.connect("tcp://127.0.0.1:1") as channel:
        with pytest.raises(nebula.Error) as caught:
            channel.service("echo", timeout=5).say()
        assert caught.value.code == nebula.UNAVAILABLE and "127.0.0.1:1" in caught.value.message


def test_a_target_or_path_that_is_malformed_is_refused_where_it_is_written(url):
    for target in ("", "nonsense", "ftp://x", "nebula://.a", "nebula://a b"):
        with pytest.raises((ValueError, nebula.EngineError)):
            nebula.connect(target)
    with nebula.connect(url) as channel:
        for path in ("", "/a", "a/b", "//"):
            with pytest.raises(ValueError):
                channel.call(path, {})
        with pytest.raises(TypeError):
            channel.service("echo").say(1, 2)
        with pytest.raises(TypeError):
            channel.service("echo").say({"text": "a"}, tiemout=1)
        with pytest.raises(TypeError):
            channel.service("echo").say(text={1, 2})
        with pytest.raises(ValueError):
            channel.call("/echo/say", {}, metadata={"Bad": "1"})


def test_names_of_python_itself_are_not_methods(url):
    with nebula.connect(url) as channel:
        client = channel.service("echo")
        with pytest.raises(AttributeError):
            client.__deepcopy__
        assert "echo" in repr(client) and "/echo/say" in repr(client.say) and "tcp:" in repr(channel)


def test_a_channel_that_nobody_holds_closes_itself(url):
    serial = None

    def use():
        nonlocal serial
        channel = nebula.connect(url)
        serial = channel._serial
        assert channel.service("echo", timeout=5).say(text="a") == "a"
        assert serial in engine.thread_port().links

    use()
    gc.collect()
    assert serial not in engine.thread_port().links


def test_an_exchange_returns_metadata_in_plain_code_too(url):
    with nebula.connect(url) as channel:
        reply = channel.exchange("/echo/say", {"text": "a"}, timeout=5)
        assert reply.value == "a" and isinstance(reply.headers, nebula.Metadata)


def test_ten_thousand_calls_at_once_end_correctly():
    app = nebula.Service("many")

    @app.rpc
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    async def main():
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
            client = channel.service("many", timeout=60)
            answers = await asyncio.gather(*(client.double(number=number) for number in range(10_000)))
            assert answers == [number * 2 for number in range(10_000)]
            assert not engine.loop_port(asyncio.get_running_loop()).pending and not server._running

    asyncio.run(main())


def test_ten_thousand_calls_cancelled_at_once_leave_nothing_behind():
    app = nebula.Service("many")
    began = 0

    @app.rpc
    async def hang() -> None:
        nonlocal began
        began += 1
        await asyncio.sleep(PATIENCE)

    async def main():
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
            client = channel.service("many")
            calls = [asyncio.ensure_future(client.hang()) for _ in range(10_000)]
            while began < 100:
                await asyncio.sleep(0.005)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, asyncio.CancelledError) for result in results)
            port = engine.loop_port(asyncio.get_running_loop())
            while port.pending or server._running:
                await asyncio.sleep(0.005)

    asyncio.run(main())

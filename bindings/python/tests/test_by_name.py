"""By name: found, gone, back again, and what is said when nobody is there."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from kit import PATIENCE, REGISTRY, aio, eventually

import nebula
from nebula import engine

HELLO = """
    import nebula, sys
    app = nebula.Service(sys.argv[1])

    @app.rpc
    def greet(name: str = "world") -> str:
        return f"Hello {name}!"

    app.run()
"""


def test_a_service_is_called_by_its_name(program):
    hello = program(HELLO, "hello")
    ready = hello.line()
    assert ready.startswith("hello  (python)  ready   tcp://127.0.0.1:2") and "unix:" in ready
    assert nebula.service("hello", timeout=0.5).greet(name="Ada") == "Hello Ada!"

    async def main():
        return await nebula.service("hello", timeout=0.5).greet(name="Ada")

    assert aio(main) == "Hello Ada!"
    with nebula.connect("nebula://hello") as channel:
        assert channel.service("hello", timeout=0.5).greet() == "Hello world!"


def test_the_line_that_says_how_to_call_works(program):
    hello = program(HELLO, "hello-line")
    hello.line()
    call = hello.line().split("call", 1)[1].strip()
    assert eval(call, {"nebula": nebula}) == "Hello world!"


def test_nobody_there_says_so_at_once_and_what_is_similar(program):
    program(HELLO, "hello-there").line()
    began = time.monotonic()
    with pytest.raises(nebula.Error) as caught:
        nebula.service("helo-there", timeout=5).greet()
    assert time.monotonic() - began < 2
    assert caught.value.code == nebula.UNAVAILABLE
    assert 'no instance of "helo-there"' in caught.value.message and "hello-there" in caught.value.message


def test_a_killed_service_is_unavailable_and_a_new_one_is_found_with_nothing_configured(program):
    client = nebula.service("phoenix", timeout=5)
    for _ in range(3):
        phoenix = program(HELLO, "phoenix")
        phoenix.line()
        assert client.greet(name="Ada") == "Hello Ada!"
        phoenix.process.kill()
        phoenix.process.wait()

        def gone():
            try:
                client.greet()
            except nebula.Error as error:
                assert error.code == nebula.UNAVAILABLE
                return 'no instance of "phoenix"' in error.message
            raise AssertionError("a dead service answered")

        eventually(gone)


def test_an_idle_client_finds_the_successor_at_its_first_call(program):
    client = nebula.service("successor", timeout=5)
    for _ in range(3):
        service = program(HELLO, "successor")
        service.line()
        assert client.greet() == "Hello world!"
        service.process.kill()
        service.process.wait()


def test_a_call_may_wait_for_its_service(program):
    async def main():
        call = asyncio.ensure_future(
            nebula.service("late").greet({"name": "Ada"}, wait_for_ready=True, timeout=PATIENCE)
        )
        await asyncio.sleep(0.05)
        assert not call.done()
        program(HELLO, "late").line()
        return await call

    assert aio(main) == "Hello Ada!"


def test_calls_are_spread_over_instances(program):
    source = """
        import nebula, os
        app = nebula.Service("spread")

        @app.rpc
        async def pid() -> int:
            return os.getpid()

        app.run()
    """
    instances = [program(source) for _ in range(3)]
    for instance in instances:
        instance.line()
    client = nebula.service("spread", timeout=5)
    eventually(lambda: {client.pid() for _ in range(9)} == {instance.pid for instance in instances})


def test_a_service_and_its_caller_may_be_one_process():
    app = nebula.Service("inside")

    @app.rpc
    async def outer() -> str:
        return "outer " + await nebula.service("inside").inner()

    @app.rpc
    def inner() -> str:
        return "inner " + nebula.service("inside").innermost()

    @app.rpc
    async def innermost() -> str:
        return "innermost"

    async def main():
        async with nebula.serve(app, drain_timeout=0.1) as server:
            assert any(url.startswith("unix:") for url in server.urls) and any(
                url.startswith("tcp:") for url in server.urls
            )
            return await nebula.service("inside", timeout=5).outer()

    assert aio(main) == "outer inner innermost"


def test_names_can_be_announced_for_an_address_and_left_out():
    app = nebula.Service("plain")
    app.rpc(lambda: 7, name="f")

    async def main():
        async with nebula.serve(app, address="tcp://127.0.0.1:0"):
            with pytest.raises(nebula.Error) as caught:
                await nebula.service("plain", timeout=5).f()
            assert caught.value.code == nebula.UNAVAILABLE
        async with nebula.serve(app, address="tcp://127.0.0.1:0", announce=["plain"]):
            assert await nebula.service("plain", timeout=5).f() == 7

    aio(main)


def test_an_idle_client_does_not_hold_up_the_end(program):
    hello = program(HELLO, "unhurried")
    hello.line()
    assert nebula.service("unhurried", timeout=5).greet() == "Hello world!"
    began = time.monotonic()
    hello.send(signal.SIGTERM)
    assert hello.end()[0] == 0
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_withdraws_and_ends_cleanly(program, number):
    name = f"goodbye-{number}"
    hello = program(HELLO, name)
    hello.line()
    with nebula.connect("nebula:") as channel:
        assert channel.service(name, timeout=5).greet() == "Hello world!"
    engine.thread_port().flush()  # the connection is gone
    hello.send(number)
    code, _, err = hello.end()
    assert (code, err) == (0, "")
    assert not [file for file in os.listdir(REGISTRY) if file.startswith(name)]
    with pytest.raises(nebula.Error) as caught:
        nebula.service(name, timeout=5).greet()
    assert caught.value.code == nebula.UNAVAILABLE


SLOW = """
    import nebula, sys, threading, time
    app = nebula.Service(sys.argv[1])

    @app.rpc
    async def nap(seconds: float) -> str:
        import asyncio
        print("napping", flush=True)
        await asyncio.sleep(seconds)
        return "slept"

    @app.rpc
    def hang() -> None:
        print("hanging", flush=True)
        threading.Event().wait()

    @app.rpc
    async def spin() -> None:
        print("spinning", flush=True)
        while True:
            pass

    app.run()
    print("returned", flush=True)
"""


def test_the_first_signal_lets_running_calls_end(program):
    slow = program(SLOW, "slow-end")
    slow.line(), slow.line()

    async def main():
        call = asyncio.ensure_future(nebula.service("slow-end", timeout=PATIENCE).nap(seconds=0.3))
        assert await asyncio.to_thread(slow.line) == "napping"
        slow.send(signal.SIGTERM)
        return await call

    assert aio(main) == "slept"
    assert slow.end() == (0, "returned\n", "")


@pytest.mark.parametrize("method", ["hang", "spin"])
def test_the_second_signal_ends_it_at_once(program, method):
    slow = program(SLOW, f"slow-{method}")
    slow.line(), slow.line()

    async def main():
        call = asyncio.ensure_future(nebula.service(f"slow-{method}", timeout=PATIENCE)[method]())
        assert await asyncio.to_thread(slow.line) == ("hanging" if method == "hang" else "spinning")
        slow.send(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert slow.process.poll() is None
        slow.send(signal.SIGTERM)
        with pytest.raises(nebula.Error) as caught:
            await call
        assert caught.value.code in (nebula.UNAVAILABLE, nebula.CANCELLED)

    aio(main)
    assert slow.end()[0] == 128 + signal.SIGTERM


def test_a_registry_that_cannot_be_used_is_one_clear_sentence(program, tmp_path):
    (tmp_path / "file").write_text("")
    hello = program(HELLO, "hello", env={"NEBULA_REGISTRY": f"host:?dir={tmp_path}/file"})
    code, out, err = hello.end()
    assert code != 0 and out == "" and f"{tmp_path}/file" in err.splitlines()[-1]

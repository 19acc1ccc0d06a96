"""The binding as a guest in its process: fork, exit, Ctrl-C, logs."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from kit import PATIENCE

import nebula

@pytest.fixture
def url(serving):
    app = nebula.Service("p")

    @app.rpc
    async def say(text: str = "hi") -> str:
        return text

    @app.rpc
    async def hang() -> None:
        import asyncio

        await asyncio.sleep(PATIENCE)

    return serving(app, address="tcp://127.0.0.1:0").urls[0]


def test_a_forked_child_has_an_engine_of_its_own(program, url):
    child = program(
        """
        import nebula, os, sys
        channel = nebula.connect(sys.argv[1])
        client = channel.service("p", timeout=5)
        assert client.say() == "hi"
        native = nebula.engine.thread_port()
        if os.fork() == 0:
            try:
                assert client.say() == "hi"
                assert nebula.engine.thread_port() is not native
                try:
                    nebula._nebula.poll(native.queue, 0, [])
                    os._exit(2)
                except RuntimeError as error:
                    assert "fork" in str(error)
                del native
                sys.stdout.write("child fine\\n")
                sys.stdout.flush()
                sys.exit(0)  # with all its atexit handlers
            except BaseException as error:
                if isinstance(error, SystemExit):
                    raise
                import traceback
                traceback.print_exc()
                os._exit(1)
        _, status = os.wait()
        assert status == 0, status
        assert client.say() == "hi"
        print("parent fine")
        """,
        url,
    )
    assert child.end() == (0, "child fine\nparent fine\n", "")


def test_multiprocessing_with_fork_works_in_a_service(program):
    service = program(
        """
        import asyncio, multiprocessing, nebula, os
        app = nebula.Service("forks")

        @app.rpc
        async def me() -> int:
            return os.getpid()

        def ask(_):
            return nebula.service("forks", timeout=5).me()

        async def main():
            async with nebula.serve(app):
                with multiprocessing.get_context("fork").Pool(2) as pool:
                    answers = await asyncio.to_thread(pool.map, ask, range(4))
                assert answers == [os.getpid()] * 4, answers
                assert await nebula.service("forks", timeout=5).me() == os.getpid()
            print("fine")

        asyncio.run(main())
        """
    )
    assert service.end() == (0, "fine\n", "")


@pytest.mark.parametrize(
    "ending",
    [
        "pass",
        "sys.exit(0)",
        "client.say(); del client, channel",
        "threading.Thread(target=client.hang, daemon=True).start(); time.sleep(0.05)",
    ],
)
def test_a_program_may_end_with_all_open(program, url, ending):
    source = f"""
        import nebula, sys, threading, time
        channel = nebula.connect(sys.argv[1])
        client = channel.service("p", timeout=5)
        assert client.say() == "hi"
        {ending}
    """
    assert program(source, url).end() == (0, "", "")


def test_a_server_that_is_left_open_ends_with_its_program(program):
    source = """
        import asyncio, nebula
        app = nebula.Service("left-open")
        app.rpc(lambda: 0, name="f")

        async def main():
            global server
            server = nebula.serve(app)
            await server.start()
            assert await nebula.service("left-open", timeout=5).f() == 0

        asyncio.run(main())
    """
    assert program(source).end() == (0, "", "")
    with pytest.raises(nebula.Error) as caught:
        nebula.service("left-open", timeout=5).f()
    assert caught.value.code == nebula.UNAVAILABLE


def test_ctrl_c_interrupts_a_call_that_blocks(program, url):
    source = """
        import nebula, sys, time
        client = nebula.connect(sys.argv[1]).service("p")
        client.say()
        print("waiting", flush=True)
        try:
            client.hang()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert client.say() == "hi"
        print("goes on")
    """
    blocked = program(source, url)
    assert blocked.line() == "waiting"
    time.sleep(0.1)
    began = time.monotonic()
    blocked.send(signal.SIGINT)
    assert blocked.line() == "interrupted"
    assert time.monotonic() - began < 0.5
    assert blocked.end() == (0, "goes on\n", "")


def test_ctrl_c_ends_an_asyncio_program(program, url):
    source = """
        import asyncio, nebula, sys

        async def main():
            client = nebula.connect(sys.argv[1]).service("p")
            await client.say()
            print("waiting", flush=True)
            await client.hang()

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    blocked = program(source, url)
    assert blocked.line() == "waiting"
    time.sleep(0.05)
    blocked.send(signal.SIGINT)
    assert blocked.end() == (0, "interrupted\n", "")


def test_nebula_log_shows_the_bindings_own_lines(program):
    source = """
        import asyncio, nebula, sys
        if "configured" in sys.argv:
            import logging
            logging.basicConfig(format="own %(message)s")
        app = nebula.Service("logs")

        @app.rpc
        async def fail() -> None:
            raise ValueError("no")

        async def main():
            async with nebula.serve(app, "tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
                try:
                    await channel.service("logs").fail()
                except nebula.Error as error:
                    assert error.code == nebula.UNKNOWN

        asyncio.run(main())
    """
    for args, env, begin in (
        ((), {"NEBULA_LOG": "warn"}, "nebula: ERROR: "),
        ((), {}, ""),
        (("configured",), {"NEBULA_LOG": "warn"}, "own "),
    ):
        code, out, err = program(source, *args, env=env).end()
        lines = [line for line in err.splitlines() if "logs.fail failed" in line]
        assert code == 0 and lines == [begin + "logs.fail failed"], err
        assert err.count("ValueError: no") == 1 and "Traceback" in err


def test_serving_ends_when_the_task_is_cancelled(program):
    source = """
        import asyncio, nebula
        app = nebula.Service("cancelled")
        app.rpc(lambda: 0, name="f")

        async def main():
            task = asyncio.create_task(app.serve())
            while True:
                try:
                    await nebula.service("cancelled", timeout=5).f()
                    break
                except nebula.Error:
                    await asyncio.sleep(0.01)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                print("ended")

        asyncio.run(main())
    """
    assert program(source).end() == (0, "ended\n", "")


def test_run_in_another_thread_serves_and_leaves_signals_alone(program):
    source = """
        import nebula, os, signal, threading, time
        app = nebula.Service("threaded-run")
        app.rpc(lambda: 5, name="f")
        threading.Thread(target=app.run, daemon=True).start()
        client = nebula.service("threaded-run", timeout=5)
        while True:
            try:
                print(client.f(), flush=True)
                break
            except nebula.Error:
                time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    """
    started = program(source)
    code, out, err = started.end()
    assert code == 0 and out.splitlines()[-1] == "5", err


def test_several_services_run_in_one_process(program):
    source = """
        import nebula
        a, b = nebula.Service("several-a"), nebula.Service("several-b")
        a.rpc(lambda: "a", name="who")
        b.rpc(lambda: "b", name="who")
        nebula.run(a, b, drain_timeout=0.1)
    """
    both = program(source)
    assert both.line().startswith("several-a  (python)  ready") and both.line().startswith("several-b  (python)  ready")
    assert nebula.service("several-a", timeout=5).who() + nebula.service("several-b", timeout=5).who() == "ab"
    both.send(signal.SIGTERM)
    assert both.end()[0] == 0


def test_no_thread_of_ours_is_needed_for_a_client():
    before = threading.active_count()
    with pytest.raises(nebula.Error):
        nebula.connect("tcp://127.0.0.1:1").service("x", timeout=1).f()
    assert threading.active_count() == before and os.getpid()

"""The binding in programs that end, collect garbage, fork or are interrupted while calls are open.

Each is a process of its own, which must end soon, with the right exit code and not a word on stderr.
"""

from __future__ import annotations

import asyncio
import signal
import textwrap
import time
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE

import nebula

SOON = PATIENCE / 2.5  # of a busy machine


@pytest.fixture
def url(serving):
    """Another process's service: all that can be open."""
    app = nebula.Service("p")

    @app.rpc
    async def say(text: str = "hi") -> str:
        return text

    @app.rpc
    async def hang() -> None:
        await asyncio.sleep(PATIENCE)

    @app.rpc
    async def ticks() -> AsyncIterator[int]:
        for number in range(10**9):
            yield number
            await asyncio.sleep(0.0005)

    @app.rpc
    async def echo(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield number

    @app.rpc
    def threads(numbers: Iterator[int]) -> Iterator[int]:
        yield from numbers

    return serving(app, address="tcp://127.0.0.1:0").urls[0]


@pytest.fixture
def runs(program, url):
    """runs(source) -> what a program prints that ends well; it begins with a client of the service, and calls open."""
    prelude = """
import asyncio, atexit, gc, itertools, os, random, signal, sys, threading, time, nebula
channel = nebula.connect(sys.argv[1])
p = channel.service("p", timeout=20)
"""

    def run(source, *, code=0):
        began = time.monotonic()
        assert program(prelude + textwrap.dedent(source), url).end() == (code, "fine\n", "")
        assert time.monotonic() - began < SOON

    return run


# ---- the end of the program ------------------------------------------------------------------------------------------

OPEN = {
    "streams": """
        streams = [p.ticks.stream() for _ in range(5)] + [p.echo.open() for _ in range(5)]
        assert streams[0].receive() == 0
    """,
    "streams that threads read": """
        def read():
            for _ in p.ticks.stream(): pass
        for _ in range(5): threading.Thread(target=read, daemon=True).start()
        time.sleep(0.1)
    """,
    "streams that threads feed": """
        streams = [p[name].stream(itertools.count()) for name in ("echo", "threads") for _ in range(3)]
        for stream in streams: assert stream.receive() == 0
    """,
    "calls of many threads": """
        def work():
            while True: p.say()
        for _ in range(8): threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
    """,
    "calls of a loop in a thread": """
        async def main():
            await asyncio.gather(*(p.hang() for _ in range(20)), read())
        async def read():
            async for _ in p.ticks.stream(): pass
        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        time.sleep(0.2)
    """,
    "tasks of a loop that asyncio.run cancels": """
        async def main():
            global tasks
            tasks = [asyncio.create_task(each()) for each in [p.hang] * 10 + [read] * 10]
            await asyncio.sleep(0.1)
        async def read():
            async for _ in p.ticks.stream(): pass
        asyncio.run(main())
    """,
    "streams of a loop that stands still": """
        async def begin():
            streams = [p.ticks.stream(), p.echo.open()]
            await streams[0].receive()
            return streams
        loop = asyncio.new_event_loop()
        streams = loop.run_until_complete(begin())
    """,
    "streams of a loop that was closed": """
        async def begin():
            streams = [p.ticks.stream(), p.echo.open()]
            await streams[0].receive()
            return streams
        loop = asyncio.new_event_loop()
        streams = loop.run_until_complete(begin())
        loop.close()
    """,
    "a thread that the program waits for": """
        def work():
            for _ in range(300): p.say()
        threading.Thread(target=work).start()
    """,
    "a call at exit": """
        # In the reverse order: before the engine is closed.
        atexit.register(lambda: p.say() == "hi" or os._exit(9))
    """,
    "calls in finalizers of what lives to the end": """
        class Last:
            def __del__(self):
                try:
                    self.client.say()
                except Exception:
                    pass  # the engine is closed, or the modules are
        last = [Last() for _ in range(3)]
        for each in last: each.client, each.cycle = p, last
    """,
}


@pytest.mark.parametrize("open", OPEN)
def test_a_caller_may_end_with(runs, open):
    runs(OPEN[open] + "\n        print('fine')")


@pytest.mark.parametrize("open", ["streams", "streams that threads feed", "calls of many threads"])
@pytest.mark.parametrize("ending, code", [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGTERM)", -15)])
def test_it_may_end_by(runs, open, ending, code):
    runs(OPEN[open] + f"\n        print('fine', flush=True)\n        {ending}", code=code)


SERVED = """
    import asyncio, os, signal, sys, threading, time, nebula
    from typing import AsyncIterator, Iterator
    app = nebula.Service("served")

    @app.rpc
    async def hang() -> None:
        await asyncio.sleep(20)

    @app.rpc
    def block() -> None:
        time.sleep(20)

    @app.rpc
    async def ticks() -> AsyncIterator[int]:
        while True:
            yield 1

    @app.rpc
    def tocks(numbers: Iterator[int]) -> Iterator[int]:
        yield from numbers

    async def call_all():
        global channel, streams  # open when the program ends
        channel = nebula.connect("tcp://127.0.0.1:%d" % port, mode="sync")
        service = channel.service("served", timeout=20)
        streams = [service.ticks.stream(), service.tocks.stream(iter([1, 2]))]
        for name in ("hang", "block"):
            threading.Thread(target=ignore, args=[service[name]], daemon=True).start()

    def ignore(call):
        try:
            call()
        except (nebula.Error, RuntimeError):
            pass
"""


@pytest.mark.parametrize(
    "ending",
    [
        "asyncio.run(main())",
        "asyncio.run(main()); sys.exit(0)",
        "loop = asyncio.new_event_loop(); loop.run_until_complete(main())",
    ],
)
def test_a_server_may_end_with_calls_open(program, ending):
    source = f"""{SERVED}
    async def main():
        global server, port
        server = nebula.serve(app, address="tcp://127.0.0.1:0")
        await server.start()
        port = int(server.urls[0].rpartition(":")[2])
        await call_all()
        await asyncio.sleep(0.2)
        print("fine", flush=True)

    {ending}
    """
    began = time.monotonic()
    assert program(source).end() == (0, "fine\n", "")
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_with_calls_open(program, number):
    running = program(SERVED + "\n    app.run('tcp://127.0.0.1:0', drain_timeout=0.2)")
    url = running.line().split()[-1]
    with nebula.connect(url) as channel:
        service = channel.service("served", timeout=PATIENCE)
        streams = [service.ticks.stream(), service.tocks.open()]
        assert streams[0].receive() == 1
        streams[1].send(5)
        assert streams[1].receive() == 5
        began = time.monotonic()
        running.send(number)
        for stream in streams:
            with pytest.raises(nebula.Error):
                for _ in stream:
                    pass
    assert running.end() == (0, "", "")
    assert time.monotonic() - began < SOON


# ---- garbage ---------------------------------------------------------------------------------------------------------


def test_objects_go_in_any_order_and_in_cycles(runs):
    runs(
        """
        chance = random.Random(7)
        gc.disable()

        def knot():
            own = nebula.connect(sys.argv[1])
            service = own.service("p", timeout=20)
            things = [own, service, service.say, service.ticks.stream(), service.echo.open(), service.ticks.stream()]
            if chance.random() < 0.5: things[3].receive()
            if chance.random() < 0.5: things[4].send(1)
            if chance.random() < 0.3: own.close()
            chance.shuffle(things)
            things.append(things)
            return things

        stream = p.ticks.stream()
        for round in range(60):
            things = knot()
            for _ in range(chance.randrange(4)): things.pop(chance.randrange(len(things)))
            del things
            if chance.random() < 0.2: gc.collect()
            assert p.say() == "hi"
            assert stream.receive() == round
        gc.collect()
        assert stream.receive() == 60
        print("fine")
        """
    )


def test_objects_of_loops_go_in_any_order_and_in_cycles(runs):
    runs(
        """
        chance = random.Random(7)

        async def main():
            stream = p.ticks.stream()
            for round in range(40):
                own = nebula.connect(sys.argv[1])
                service = own.service("p", timeout=20)
                things = [own, service, service.ticks.stream(), service.echo.open()]
                task = asyncio.create_task(service.hang())
                things.append(task)
                await things[3].send(1)
                if chance.random() < 0.5: assert await things[2].receive() == 0
                task.cancel()
                await asyncio.wait([task])
                chance.shuffle(things)
                things.append(things)
                del own, service, task, things
                if chance.random() < 0.3: gc.collect()
                assert await p.say() == "hi"
                assert await stream.receive() == round
            gc.collect()

        for _ in range(2):  # each with a loop of its own
            asyncio.run(main())
        print("fine")
        """
    )


def test_the_collector_may_come_at_any_moment_and_finalizers_may_call(runs):
    runs(
        """
        made = gone = 0

        class Noisy:
            def __init__(self):
                global made
                made += 1
                self.cycle = self

            def __del__(self):
                global gone
                assert p.say(text="last words") == "last words"
                gone += 1

        gc.set_threshold(20, 2, 2)
        stream = p.ticks.stream()
        for number in range(300):
            Noisy()
            assert p.say(text=str(number)) == str(number)
            assert stream.receive() == number
        stream.cancel()
        gc.collect()
        assert made == gone == 300, gone
        print("fine")
        """
    )


def test_an_answer_that_a_finalizer_has_taken_is_seen(runs):
    runs(
        """
        from nebula import engine

        class Claim:  # a finalizer may come just here, between the look at what is there and the poll
            armed = True
            def __enter__(self):
                if Claim.armed:
                    Claim.armed = False
                    assert p.say(text="in between") == "in between"
            def __exit__(self, *_): pass

        def work():
            assert p.say() == "hi"
            engine.thread_port()._claim = Claim()
            for _ in range(10):
                Claim.armed = True
                assert p.say(text="around") == "around"
            print("fine")
        thread = threading.Thread(target=work)  # not the main thread, which looks up now and then
        thread.start()
        thread.join()
        """
    )


def test_a_finalizer_of_another_thread_or_loop_may_call(runs):
    runs(
        """
        class Noisy:
            def __init__(self): self.cycle = self
            def __del__(self): nebula.connect(sys.argv[1], mode="sync").service("p", timeout=20).say()

        gc.set_threshold(30, 2, 2)
        def work():
            for _ in range(30): Noisy(); assert p.say() == "hi"
        async def main():
            for _ in range(30): Noisy(); assert await p.say() == "hi"
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads: thread.start()
        asyncio.run(main())
        for thread in threads: thread.join()
        gc.collect()  # later the engine is closed
        print("fine")
        """
    )


ERRORS = ["ValueError('no')", "Mute()", "Odd('odd')", "SystemExit(5)", "StopIteration()", "GeneratorExit()",
          "StopAsyncIteration()", "asyncio.CancelledError()", "MemoryError()", "RecursionError()"]  # fmt: skip


def test_exceptions_of_all_kinds_leave_a_server_standing(program):
    source = """
        import asyncio, logging, nebula
        from typing import AsyncIterator, Iterator
        logging.getLogger("nebula").addHandler(logging.NullHandler())
        logging.getLogger("nebula").propagate = False
        app = nebula.Service("raises")

        class Mute(Exception):
            def __str__(self): raise RuntimeError("no words")

        class Odd(BaseException):
            pass

        errors = [ERRORS]

        @app.rpc
        async def on_loop(which: int) -> int:
            raise errors[which]

        @app.rpc
        def in_thread(which: int) -> int:
            raise errors[which]

        @app.rpc
        async def stream_on_loop(which: int) -> AsyncIterator[int]:
            yield 1
            raise errors[which]

        @app.rpc
        def stream_in_thread(which: int) -> Iterator[int]:
            yield 1
            raise errors[which]

        @app.rpc
        async def good() -> int:
            return 1

        async def main():
            async with nebula.serve(app, "tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
                service = channel.service("raises", timeout=10)
                for which in range(len(errors)):
                    for name in ("on_loop", "in_thread", "stream_on_loop", "stream_in_thread"):
                        try:
                            if name.startswith("stream"):
                                async for _ in service[name].stream(which=which): pass
                            else:
                                await service[name](which=which)
                            raise SystemExit(f"{name} of {errors[which]!r} did not fail")
                        except nebula.Error as error:
                            assert error.code in (nebula.UNKNOWN, nebula.CANCELLED), (name, which, error)
                        assert await service.good() == 1

        asyncio.run(main())
        print("fine")
    """
    assert program(source.replace("ERRORS", ", ".join(ERRORS))).end() == (0, "fine\n", "")


# ---- forks -----------------------------------------------------------------------------------------------------------

CHILD = """
        def child(work):
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                try:
                    work()
                    sys.exit(0)  # with all that there is at exit
                except SystemExit:
                    raise
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
            return pid

        def expect_fine(pid):
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
"""


@pytest.mark.forks
def test_a_child_of_a_fork_in_the_middle_of_calls_begins_anew(runs):
    runs(
        CHILD
        + """
        stop = threading.Event()
        def work():
            while not stop.is_set(): assert p.say() == "hi"
        def read():
            for _ in p.ticks.stream():
                if stop.is_set(): break
        threads = [threading.Thread(target=target) for target in (work, work, read, read)]
        for thread in threads: thread.start()
        stream = p.ticks.stream()
        assert stream.receive() == 0
        chat = p.echo.open()
        chat.send(1)

        def work():
            for each in (lambda: stream.receive(), lambda: chat.send(2), lambda: chat.receive(), lambda: list(stream)):
                try:
                    each()
                    os._exit(2)
                except nebula.EngineError as error:
                    assert error.code == nebula._nebula.E_FORKED and "fork" in str(error), error
            stream.cancel(), chat.cancel()
            assert p.say() == "hi"
            assert nebula.connect(sys.argv[1]).service("p", timeout=5).say() == "hi"
            new = p.ticks.stream()
            assert new.receive() == 0
            expect_fine(child(lambda: p.say()))  # and its child

        for number in range(5):
            expect_fine(child(work))
            assert stream.receive() == number + 1
        chat.send(2)
        assert [chat.receive(), chat.receive()] == [1, 2]
        stop.set()
        for thread in threads: thread.join()
        print("fine")
        """
    )


@pytest.mark.forks
def test_a_child_of_a_fork_on_a_loop_leaves_the_parents_loop_alone(runs):
    runs(
        CHILD
        + """
        async def new():
            assert await p.say() == "hi"

        async def main():
            stream = p.ticks.stream()
            calls = [asyncio.create_task(p.hang()) for _ in range(5)]
            for number in range(5):
                assert await stream.receive() == number
                pid = os.fork()
                if pid == 0:
                    try:
                        try:
                            stream._flow.submit(b"1")
                            os._exit(2)
                        except nebula.EngineError as error:
                            assert error.code == nebula._nebula.E_FORKED
                        threading.Thread(target=lambda: asyncio.run(new())).start()
                        while threading.active_count() > 1: time.sleep(0.001)
                        gc.collect()
                        os._exit(0)
                    except BaseException:
                        import traceback
                        traceback.print_exc()
                        os._exit(1)
                _, status = await asyncio.to_thread(os.waitpid, pid, 0)
                assert status == 0, status
                assert await p.say() == "hi"
            for call in calls: call.cancel()
        asyncio.run(main())
        print("fine")
        """
    )


@pytest.mark.forks
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_works_beside_open_calls(program, url, tmp_path, method):
    (tmp_path / "work.py").write_text(
        """
import multiprocessing, sys, nebula
def ask(url):
    return [nebula.connect(url).service("p", timeout=20).say(text=str(n)) for n in range(20)]
if __name__ == "__main__":
    url, method = sys.argv[1:]
    client = nebula.connect(url).service("p", timeout=20)
    stream = client.ticks.stream()
    assert stream.receive() == 0
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(ask, [url] * 4) == [[str(n) for n in range(20)]] * 4
    assert stream.receive() == 1
    print("fine")
"""
    )
    source = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    if method == "spawn":  # which imports the program by its path
        source = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, *sys.argv[1:]]))"
    assert program(source, tmp_path / "work.py", url, method).end() == (0, "fine\n", "")


@pytest.mark.forks
def test_workers_that_are_forked_beforehand_serve(program):
    """As gunicorn does: the parent has used the engine, each worker serves on its own, the parent ends them."""
    parent = program(
        """
        import os, signal, nebula
        app = nebula.Service("prefork")

        @app.rpc
        async def pid() -> int:
            return os.getpid()

        try:
            nebula.service("prefork", timeout=1).pid()  # the parent's engine; there is no such service yet
        except nebula.Error:
            pass
        pids = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                devnull = os.open(os.devnull, os.O_WRONLY)
                os.dup2(devnull, 1)
                nebula.run(app, drain_timeout=0.2)
                raise SystemExit(0)
            pids.append(child)
        seen = set()
        client = nebula.service("prefork", timeout=10)
        while len(seen) < 3:
            try:
                seen.add(client.pid())
            except nebula.Error as error:
                assert error.code == nebula.UNAVAILABLE, error
        assert seen == set(pids)
        for each in pids: os.kill(each, signal.SIGTERM)
        assert [os.waitpid(each, 0)[1] for each in pids] == [0, 0, 0]
        print("fine")
        """
    )
    assert parent.end() == (0, "fine\n", "")


# ---- interruptions ---------------------------------------------------------------------------------------------------


def test_interruptions_at_any_moment_lose_nothing_of_others(runs):
    """Ctrl-C over and over in the main thread, while another thread's stream has the main thread's port poll for it."""
    runs(
        """
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        chance = random.Random(7)
        stream = p.ticks.stream()  # of this thread's port
        seen = []
        def read():
            for number in stream:
                seen.append(number)
                if len(seen) >= 400: break
        reader = threading.Thread(target=read)
        reader.start()
        interrupted = 0
        while reader.is_alive():
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.01))
                while True: assert p.say() == "hi"
            except KeyboardInterrupt:
                interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert seen == list(range(400)), seen
        assert interrupted > 10 and p.say() == "hi"
        print("fine")
        """
    )


def test_ctrl_c_in_a_stream_ends_that_stream_alone(program, url):
    source = """
        import nebula, sys
        p = nebula.connect(sys.argv[1]).service("p")
        other = p.echo.open()
        try:
            for number in p.ticks.stream():
                if number == 5: print("reading", flush=True)
        except KeyboardInterrupt:
            other.send(7)
            print(other.receive(), p.say(), flush=True)
    """
    reading = program(source, url)
    assert reading.line() == "reading"
    reading.send(signal.SIGINT)
    assert reading.end() == (0, "7 hi\n", "")


def test_ctrl_c_in_a_loop_with_streams_ends_it_in_order(program, url):
    source = """
        import asyncio, nebula, sys
        async def main():
            p = nebula.connect(sys.argv[1]).service("p")
            async def read():
                async for number in p.ticks.stream():
                    if number == 5: print("reading", flush=True)
            await asyncio.gather(read(), p.hang(), p.echo.open().receive())
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            async def again():
                return await nebula.connect(sys.argv[1]).service("p").say()
            print(asyncio.run(again()))
    """
    reading = program(source, url)
    assert reading.line() == "reading"
    reading.send(signal.SIGINT)
    assert reading.end() == (0, "hi\n", "")


# ---- loops that come and go ------------------------------------------------------------------------------------------


def test_a_loop_is_closed_with_calls_open_and_the_next_one_works(runs):
    runs(
        """
        async def begin():
            streams = [p.ticks.stream(), p.echo.open()]
            await streams[0].receive()
            return streams
        for _ in range(5):
            loop = asyncio.new_event_loop()
            streams = loop.run_until_complete(begin())
            loop.close()
            for stream in streams:
                stream.cancel()
            del streams, stream
            gc.collect()
            async def again():
                assert await p.say() == "hi"
                async for number in p.ticks.stream():
                    if number > 2: break
            asyncio.run(again())
        assert p.say() == "hi"
        print("fine")
        """
    )

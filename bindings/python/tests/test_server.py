"""How servers live: handlers that fail, hang, are cancelled; draining; contexts; several at once."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading

import pytest
from kit import PATIENCE, aio, eventually

import nebula


def served(app, use, **options):
    """Serves on a loop and runs `use(client, server)` beside it."""

    async def main():
        options.setdefault("address", "tcp://127.0.0.1:0")
        async with nebula.serve(app, **options) as server, nebula.connect(server.urls[0]) as channel:
            return await use(channel.service(app.name, timeout=PATIENCE), server)

    return aio(main)


def failure(call):
    async def wait():
        with pytest.raises(nebula.Error) as caught:
            await call
        return caught.value

    return wait()


# ---- handlers that raise ---------------------------------------------------------------------------------------------


@pytest.fixture
def faulty():
    app = nebula.Service("faulty")

    def own():
        raise nebula.Error(nebula.NOT_FOUND, "keine Bestellung № 7, 100%", {"order": "7", "raw-bin": b"\x00\xff"})

    def other():
        raise ValueError("a text")

    def silent():
        raise KeyError

    def leaves():
        sys.exit(3)

    def long():
        raise RuntimeError("x" * 100_000)

    def nul():
        raise RuntimeError("a\0b\ud800")

    for function in (own, other, silent, leaves, long, nul):
        app.rpc(function, name=f"{function.__name__}_plain")

        async def run(function=None, _function=function):
            await asyncio.sleep(0)
            _function()

        run.__signature__ = __import__("inspect").signature(function)
        app.rpc(run, name=f"{function.__name__}_async")
    return app


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_error_answers_with_its_code_message_and_metadata(faulty, kind, caplog):
    async def use(client, server):
        return await failure(client[f"own_{kind}"]())

    error = served(faulty, use)
    assert (error.code, error.message) == (nebula.NOT_FOUND, "keine Bestellung № 7, 100%")
    assert error.metadata.get("order") == "7" and error.metadata.get("raw-bin") == b"\x00\xff"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    "name, message",
    [
        ("other", "ValueError: a text"),
        ("silent", "KeyError"),
        ("leaves", "SystemExit: 3"),
        ("nul", "RuntimeError: a b?"),
    ],
)
def test_an_exception_is_unknown_logged_once_with_its_stack_and_the_service_lives_on(
    faulty, kind, name, message, caplog
):
    async def use(client, server):
        error = await failure(client[f"{name}_{kind}"]())
        assert (await failure(client[f"own_{kind}"]())).code == nebula.NOT_FOUND
        return error

    error = served(faulty, use)
    assert (error.code, error.message) == (nebula.UNKNOWN, message)
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "nebula" and record.exc_info and record.getMessage() == f"faulty.{name}_{kind} failed"


def test_a_long_message_is_cut_so_that_it_fits_the_trailers(faulty):
    async def use(client, server):
        return await failure(client.long_plain())

    error = served(faulty, use)
    assert error.code == nebula.UNKNOWN and 1000 < len(error.message) <= 2000


def test_an_error_of_a_service_behind_is_handed_on():
    behind, front = nebula.Service("behind"), nebula.Service("front")

    @behind.rpc
    async def fail() -> None:
        raise nebula.Error(nebula.ABORTED, "try again", {"hint": "later"})

    @front.rpc
    async def ask(url: str) -> None:
        async with nebula.connect(url) as channel:
            await channel.service("behind").fail()

    async def use(client, server):
        async with nebula.serve(behind, address="tcp://127.0.0.1:0") as other:
            return await failure(client.ask(url=other.urls[0]))

    error = served(front, use)
    assert str(error) == "ABORTED: try again" and error.metadata.get("hint") == "later"


# ---- cancellation and deadlines --------------------------------------------------------------------------------------


class Slow:
    """A service whose handlers wait until they are told to end, and that notes what becomes of them."""

    def __init__(self):
        self.app = nebula.Service("slow")
        self.began, self.cancelled, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.go = threading.Event()
        self.left = None
        self.app.rpc(self.wait)
        self.app.rpc(self.block)

    async def wait(self, ctx: nebula.Context) -> str:
        self.left = ctx.time_remaining()
        self.began.set()
        try:
            while not self.go.is_set():
                await asyncio.sleep(0.002)
        except asyncio.CancelledError:
            assert ctx.cancelled
            self.cancelled.set()
            raise
        finally:
            self.ended.set()
        return "done"

    def block(self, ctx: nebula.Context) -> str:
        self.left = ctx.time_remaining()
        self.began.set()
        while not self.go.wait(0.002):
            if ctx.cancelled:
                self.cancelled.set()
                break
        self.ended.set()
        return "done"


@pytest.mark.parametrize("method", ["wait", "block"])
def test_cancelling_the_task_cancels_the_handler(method):
    slow = Slow()

    async def use(client, server):
        task = asyncio.ensure_future(client[method]())
        await asyncio.to_thread(slow.began.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(slow.cancelled.wait, PATIENCE)
        assert await asyncio.to_thread(slow.ended.wait, PATIENCE)

    served(slow.app, use)


@pytest.mark.parametrize("method", ["wait", "block"])
def test_the_deadline_ends_the_call_on_both_sides(method):
    slow = Slow()

    async def use(client, server):
        error = await failure(client[method]({}, timeout=0.1))
        assert error.code == nebula.DEADLINE_EXCEEDED
        assert await asyncio.to_thread(slow.cancelled.wait, PATIENCE)
        assert 0 < slow.left <= 0.1

    served(slow.app, use)


def test_without_a_deadline_there_is_no_time_remaining():
    app = nebula.Service("time")

    @app.rpc
    async def left(ctx: nebula.Context) -> list:
        return [ctx.deadline, ctx.time_remaining()]

    async def use(client, server):
        assert await client.left({}, timeout=None) == [None, None]
        deadline, remaining = await client.left({}, timeout=50)
        assert deadline > 0 and 45 < remaining <= 50

    served(app, use)


@pytest.mark.parametrize("method", ["wait", "block"])
def test_a_caller_that_is_killed_cancels_its_call(method, program):
    slow = Slow()

    async def use(client, server):
        caller = program(f"import nebula; nebula.connect({server.urls[0]!r}).service('slow').{method}()")
        assert await asyncio.to_thread(slow.began.wait, PATIENCE)
        caller.process.kill()
        assert await asyncio.to_thread(slow.cancelled.wait, PATIENCE)

    served(slow.app, use)


def test_a_handler_that_ignores_its_cancellation_does_no_harm():
    app = nebula.Service("stubborn")
    done = asyncio.Event()

    @app.rpc
    async def stay() -> str:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            pass
        done.set()
        return "still here"

    @app.rpc
    async def ping() -> str:
        return "pong"

    async def use(client, server):
        assert (await failure(client.stay({}, timeout=0.05))).code == nebula.DEADLINE_EXCEEDED
        await done.wait()
        assert await client.ping() == "pong"

    served(app, use)


def test_a_call_that_dies_while_it_waits_for_a_thread_never_runs():
    app = nebula.Service("one")
    go, ran = threading.Event(), []

    @app.rpc
    def hold() -> None:
        go.wait(PATIENCE)

    @app.rpc
    def note(text: str) -> None:
        ran.append(text)

    async def use(client, server):
        holder = asyncio.ensure_future(client.hold())
        await asyncio.sleep(0)
        assert (await failure(client.note({"text": "dead"}, timeout=0.05))).code == nebula.DEADLINE_EXCEEDED
        eventually_dead = asyncio.ensure_future(client.note(text="alive"))
        go.set()
        await asyncio.gather(holder, eventually_dead)

    served(app, use, workers=1)
    assert ran == ["alive"]


# ---- context ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_metadata_goes_both_ways(kind):
    app = nebula.Service("meta")

    def work(ctx):
        ctx.send_initial_metadata({"first": "1", "first-bin": b"\x00\x01"})
        return [[name, value.hex() if isinstance(value, bytes) else value] for name, value in ctx.metadata]

    @app.rpc
    def plain(ctx: nebula.Context) -> list:
        return work(ctx)

    @app.rpc(name="async")
    async def async_(ctx: nebula.Context) -> list:
        return work(ctx)

    async def main():
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
            return await channel.exchange(
                f"/meta/{kind}", {}, metadata=[("a", "1"), ("a", "2"), ("b-bin", b"\xff\x00")], timeout=5
            )

    reply = aio(main)
    seen = [pair for pair in reply.value if pair[0] in ("a", "b-bin")]
    assert seen == [["a", "1"], ["a", "2"], ["b-bin", "ff00"]]
    assert reply.headers.get("first") == "1" and reply.headers.get("first-bin") == b"\x00\x01"


def test_trailing_metadata_goes_with_an_answer():
    app = nebula.Service("meta")

    @app.rpc
    async def last(ctx: nebula.Context) -> int:
        ctx.set_trailing_metadata([("last", "2"), ("last", "3")])
        return 1

    async def main():
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
            return await channel.exchange("/meta/last", {}, timeout=5)

    reply = aio(main)
    assert reply.value == 1 and reply.trailers.get_all("last") == ["2", "3"]


def test_trailing_metadata_goes_with_an_error_too():
    app = nebula.Service("meta")

    @app.rpc
    async def fail(ctx: nebula.Context) -> None:
        ctx.set_trailing_metadata({"last": "2"})
        raise ValueError("no")

    async def use(client, server):
        return await failure(client.fail())

    assert served(app, use).metadata.get("last") == "2"


def test_a_context_knows_its_peer_and_refuses_what_cannot_be_sent():
    app = nebula.Service("ctx")
    contexts = []

    @app.rpc
    async def look(ctx: nebula.Context) -> str:
        contexts.append(ctx)
        with pytest.raises(ValueError):
            ctx.set_trailing_metadata({"Bad": "1"})
        with pytest.raises(ValueError):
            ctx.send_initial_metadata({"grpc-x": "1"})
        ctx.send_initial_metadata({"a": "1"})
        with pytest.raises(RuntimeError):
            ctx.send_initial_metadata({"a": "1"})
        return ctx.peer

    async def use(client, server):
        return await client.look()

    assert served(app, use).startswith("tcp:")
    assert not contexts[0].cancelled and contexts[0].peer.startswith("tcp:")


def test_a_context_may_be_used_when_its_call_is_over():
    app = nebula.Service("ctx")
    contexts = []

    @app.rpc
    async def leave(ctx: nebula.Context) -> None:
        contexts.append(ctx)

    async def use(client, server):
        await client.leave()

    served(app, use)
    (context,) = contexts
    context.send_initial_metadata({"late": "1"})
    context.set_trailing_metadata({"late": "1"})
    assert context.peer == "" and context.method == "/ctx/leave" and not context.cancelled


# ---- life of a server ------------------------------------------------------------------------------------------------


def test_draining_lets_running_calls_end():
    slow = Slow()

    async def use(client, server):
        call = asyncio.ensure_future(client.wait())
        await asyncio.to_thread(slow.began.wait, PATIENCE)
        drain = asyncio.ensure_future(server.drain())
        await asyncio.sleep(0.05)
        assert not drain.done()
        slow.go.set()
        assert await call == "done"
        await drain

    served(slow.app, use)


@pytest.mark.parametrize("method", ["wait", "block"])
def test_a_drain_that_takes_too_long_ends_the_calls(method):
    slow = Slow()

    async def use(client, server):
        call = asyncio.ensure_future(failure(client[method]()))
        await asyncio.to_thread(slow.began.wait, PATIENCE)
        await server.drain(0.05)
        error = await call
        assert error.code in (nebula.UNAVAILABLE, nebula.CANCELLED)
        assert await asyncio.to_thread(slow.cancelled.wait, PATIENCE)

    served(slow.app, use)


def test_closing_cuts_calls_off_and_may_be_repeated():
    slow = Slow()

    async def use(client, server):
        call = asyncio.ensure_future(failure(client.wait()))
        await asyncio.to_thread(slow.began.wait, PATIENCE)
        server.close()
        server.close()
        assert (await call).code in (nebula.UNAVAILABLE, nebula.CANCELLED)
        await asyncio.to_thread(slow.cancelled.wait, PATIENCE)
        await server.drain()
        assert server.urls == []
        with pytest.raises(RuntimeError):
            await server.start()

    served(slow.app, use)


def test_several_services_in_one_server_and_several_servers_on_one_loop():
    def make(name):
        app = nebula.Service(name)

        @app.rpc
        async def who() -> str:
            return name

        return app

    async def main():
        async with nebula.serve(make("a"), make("b.c"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as both:
            async with nebula.serve(make("d"), address=["tcp://127.0.0.1:0"]) as single:
                assert len(both.urls) == 2 and len(single.urls) == 1
                for url in both.urls:
                    async with nebula.connect(url) as channel:
                        assert await channel.service("a").who() == "a"
                        assert await channel.service("b.c").who() == "b.c"
                        assert (await failure(channel.service("d").who())).code == nebula.UNIMPLEMENTED
                async with nebula.connect(single.urls[0]) as channel:
                    assert await channel.service("d").who() == "d"

    aio(main)


def test_an_address_that_cannot_be_used_says_so():
    app = nebula.Service("a")
    app.rpc(lambda: 0, name="f")

    async def start(address):
        async with nebula.serve(app, address=address):
            pass

    async def main():
        for address in ("nonsense", "tcp://127.0.0.1", "ftp://127.0.0.1:1"):
            with pytest.raises((ValueError, nebula.EngineError, OSError)):
                await start(address)
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server:
            with pytest.raises((nebula.EngineError, OSError)) as caught:
                await start(server.urls[0])
            assert server.urls[0].split(":")[-1] in str(caught.value)

    aio(main)


def test_the_health_service_answers():
    from grpc_health.v1 import health_pb2

    app = nebula.Service("well")
    app.rpc(lambda: 0, name="f")

    async def use(client, server):
        async with nebula.connect(server.urls[0]) as channel:

            async def status(service):
                request = health_pb2.HealthCheckRequest(service=service)
                return (
                    await channel.call("/grpc.health.v1.Health/Check", request, response=health_pb2.HealthCheckResponse)
                ).status

            assert await status("") == await status("well") == 1
            server.set_health(False, "well")
            assert await status("well") == 2 and await status("") == 1
            with pytest.raises(nebula.Error) as caught:
                await status("nobody")
            assert caught.value.code == nebula.NOT_FOUND

    served(app, use)


def test_messages_up_to_four_mebibytes_pass_and_larger_ones_fail_alone():
    app = nebula.Service("big")

    @app.rpc
    async def size(text: str) -> int:
        return len(text)

    @app.rpc
    async def make(size: int) -> str:
        return "x" * size

    async def use(client, server):
        assert await client.size(text="x" * 4_000_000) == 4_000_000
        error = await failure(client.size(text="x" * 5_000_000))
        assert error.code == nebula.RESOURCE_EXHAUSTED
        assert len(await client.make(size=4_000_000)) == 4_000_000
        error = await failure(client.make(size=5_000_000))
        assert error.code == nebula.RESOURCE_EXHAUSTED
        assert await client.size(text="abc") == 3

    served(app, use)

    async def use_small(client, server):
        assert await client.size(text="x" * 900) == 900
        assert (await failure(client.size(text="x" * 1100))).code == nebula.RESOURCE_EXHAUSTED

    served(app, use_small, max_message=1024)


def test_metadata_that_is_too_large_fails_its_call_alone():
    app = nebula.Service("meta")
    app.rpc(lambda: 0, name="f")

    async def use(client, server):
        error = await failure(client.f({}, metadata={"a": "x" * 20_000}))
        assert error.code == nebula.RESOURCE_EXHAUSTED
        assert await client.f() == 0

    served(app, use)


def test_handlers_may_use_timeouts_tasks_and_calls_in_their_first_step():
    app = nebula.Service("tasks")

    @app.rpc
    async def deep(url: str, depth: int) -> int:
        assert asyncio.current_task() is not None
        if depth == 0:
            return await asyncio.wait_for(asyncio.sleep(0, 1), 1)
        async with nebula.connect(url) as channel:
            return 1 + await channel.service("tasks").deep(url=url, depth=depth - 1)

    @app.rpc
    def deep_sync(url: str, depth: int) -> int:
        if depth == 0:
            return 1
        with nebula.connect(url) as channel:
            return 1 + channel.service("tasks").deep_sync(url=url, depth=depth - 1)

    async def use(client, server):
        assert await client.deep(url=server.urls[0], depth=5) == 6
        assert await client.deep_sync(url=server.urls[0], depth=3) == 4

    served(app, use, workers=8, drain_timeout=0.1)


def test_worker_threads_are_bounded_and_all_calls_end():
    app = nebula.Service("pool")
    running, most, lock = 0, 0, threading.Lock()

    @app.rpc
    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    async def use(client, server):
        await asyncio.gather(*(client.work() for _ in range(100)))

    served(app, use, workers=4)
    assert 1 < most <= 4


def test_worker_threads_end_with_the_server():
    app = nebula.Service("pool")
    app.rpc(lambda: 0, name="f")

    async def use(client, server):
        await asyncio.gather(*(client.f() for _ in range(10)))

    served(app, use)
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("nebula-")])

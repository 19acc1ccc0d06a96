"""Filters around calls: of clients in plain code and on a loop, of handlers on the loop and in threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import AsyncIterator, Iterator

import pytest
from kit import PATIENCE, aio, eventually

import nebula

THREADS, LOOP = "threads", "loop"
who = contextvars.ContextVar("who", default="nobody")


def services(filters=(), **per_service):
    """`loop` and `threads`: the same methods, on the event loop and in threads."""
    loop, threads = (nebula.Service(name, filters=per_service.get(name, ())) for name in (LOOP, THREADS))
    served = {"calls": 0}

    @loop.rpc
    async def greet(ctx: nebula.Context, name: str = "world") -> str:
        served["calls"] += 1
        ctx.send_initial_metadata({"early": "1"})
        ctx.set_trailing_metadata({"late": ctx.metadata.get("tenant", "none")})
        return f"Hello {name} of {who.get()}"

    @loop.rpc
    async def fail(name: str) -> str:
        served["calls"] += 1
        raise nebula.Error(nebula.NOT_FOUND, f"no {name}", {"why": "test"})

    @loop.rpc
    async def count(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    @loop.rpc
    async def total(numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    @loop.rpc
    async def double(numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    @loop.rpc
    async def hang(ctx: nebula.Context) -> None:
        await asyncio.sleep(PATIENCE)

    @threads.rpc(name="greet")
    def greet_(ctx: nebula.Context, name: str = "world") -> str:
        served["calls"] += 1
        ctx.send_initial_metadata({"early": "1"})
        ctx.set_trailing_metadata({"late": ctx.metadata.get("tenant", "none")})
        return f"Hello {name} of {who.get()}"

    @threads.rpc(name="fail")
    def fail_(name: str) -> str:
        served["calls"] += 1
        raise nebula.Error(nebula.NOT_FOUND, f"no {name}", {"why": "test"})

    @threads.rpc(name="count")
    def count_(to: int) -> Iterator[int]:
        yield from range(to)

    @threads.rpc(name="total")
    def total_(numbers: Iterator[int]) -> int:
        return sum(numbers)

    @threads.rpc(name="double")
    def double_(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            yield 2 * number

    return (loop, threads), served


class Caller:
    """A client in plain code or on a loop, whose filters are written once, as coroutines or not."""

    def __init__(self, url, mode, name, *filters, **options):
        self.mode, self.url, self.name = mode, url, name
        self.filters = [self._own(each) for each in filters]
        self.options = options

    def _own(self, script):
        """script(call) is a generator: what it yields `next` for comes back; what it returns is the answer."""

        def plain(call, next):
            steps, given, failure = script(call), None, None
            while True:
                try:
                    steps.send(given) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return end.value
                try:
                    given, failure = next(), None
                except Exception as error:
                    failure = error

        async def on_loop(call, next):
            steps, given, failure = script(call), None, None
            while True:
                try:
                    steps.send(given) if failure is None else steps.throw(failure)
                except StopIteration as end:
                    return end.value
                try:
                    given, failure = await next(), None
                except Exception as error:
                    failure = error

        return plain if self.mode == "sync" else on_loop

    def _service(self):
        channel = nebula.connect(self.url, mode=self.mode, filters=self.filters)
        return channel, channel.service(self.name, **{"timeout": PATIENCE, **self.options})

    def call(self, method, *message, **fields):
        channel, service = self._service()
        with channel:
            if self.mode == "sync":
                return service[method](*message, **fields)

            async def main():
                return await service[method](*message, **fields)

            return aio(main)

    def stream(self, method, *message, **fields):
        """All answers."""
        channel, service = self._service()
        with channel:
            if self.mode == "sync":
                return list(service[method].stream(*message, **fields))

            async def main():
                return [each async for each in service[method].stream(*message, **fields)]

            return aio(main)

    def talk(self, method, messages):
        """Sends each and receives its answer; then the end."""
        channel, service = self._service()
        with channel:
            if self.mode == "sync":
                with service[method].open() as stream:
                    answers = []
                    for message in messages:
                        stream.send(message)
                        answers.append(stream.receive())
                    stream.done_sending()
                    return answers, list(stream)

            async def main():
                async with service[method].open() as stream:
                    answers = []
                    for message in messages:
                        await stream.send(message)
                        answers.append(await stream.receive())
                    await stream.done_sending()
                    return answers, [each async for each in stream]

            return aio(main)


MODES = pytest.mark.parametrize("mode", ["sync", "aio"])
NAMES = pytest.mark.parametrize("name", [LOOP, THREADS])


@pytest.fixture
def url(serving):
    apps, _ = services()
    return serving(*apps, address="tcp://127.0.0.1:0").urls[0]


# ---- of a client ----------------------------------------------------------------------------------------------------


@MODES
def test_the_first_filter_is_the_outermost(url, mode):
    seen = []

    def named(name):
        def script(call):
            seen.append(f"{name} in")
            answer = yield
            seen.append(f"{name} out")
            return answer + name

        return script

    caller = Caller(url, mode, LOOP, named("a"), named("b"))
    assert caller.call("greet", name="Ada") == "Hello Ada of nobodyba"
    assert seen == ["a in", "b in", "b out", "a out"]


@MODES
@NAMES
def test_metadata_and_request_of_a_filter_reach_the_server(url, mode, name):
    ends = []

    def script(call):
        assert call.method == f"/{name}/greet" and call.metadata.get("own") == "1" and call.peer == ""
        assert call.request == {"name": "Ada"} and not call.is_stream and 0 < call.timeout <= PATIENCE
        call.add_metadata("tenant", "a")
        call.request = {"name": "Eve"}
        answer = yield
        ends.append((call.headers.get("early"), call.trailers.get("late")))
        return answer

    caller = Caller(url, mode, name, script, metadata={"own": "1"})
    assert caller.call("greet", name="Ada") == "Hello Eve of nobody"
    assert ends == [("1", "a")]


@MODES
def test_a_filter_answers_without_next(url, mode):
    def script(call):
        return "from the cache"
        yield

    assert Caller(url, mode, LOOP, script).call("greet") == "from the cache"
    assert Caller("tcp://127.0.0.1:1", mode, LOOP, script).call("greet") == "from the cache"


@MODES
def test_a_filter_calls_next_again_and_what_is_inside_begins_anew(url, mode):
    tries = []

    def again(call):
        try:
            yield
        except nebula.Error as error:
            assert error.code == nebula.NOT_FOUND and error.metadata.get("why") == "test"
        call.request = {"name": "second"}
        return (yield)

    def adding(call):
        tries.append(len(call.metadata))
        call.add_metadata("try", "1")
        return (yield)

    with pytest.raises(nebula.Error, match="no second"):
        Caller(url, mode, LOOP, again, adding).call("fail", name="first")
    assert tries == [0, 0]


@MODES
def test_what_a_filter_raises_is_what_the_call_raises(url, mode):
    def refusing(call):
        raise KeyError("no token")
        yield

    def softening(call):
        try:
            return (yield)
        except nebula.Error as error:
            raise LookupError(call.trailers.get("why")) from error

    for verb in ("call", "stream"):
        with pytest.raises(KeyError, match="no token"):
            getattr(Caller(url, mode, LOOP, refusing), verb)("fail", name="x")
    with pytest.raises(LookupError, match="test"):
        Caller(url, mode, LOOP, softening).call("fail", name="x")
    with pytest.raises(LookupError, match="test"):
        Caller(url, mode, LOOP, softening).stream("fail", name="x")


@MODES
@NAMES
def test_messages_of_all_shapes_pass_through(url, mode, name):
    def counting(call):
        there, back = [], []

        def on_request(message):
            there.append(message)
            return message + 1 if isinstance(message, int) else message

        def on_answer(message):
            back.append(message)
            return message * 10

        call.on_request(on_request)
        call.on_answer(on_answer)
        answer = yield
        seen.append((there, back))
        return answer

    seen = []
    caller = Caller(url, mode, name, counting)
    assert caller.stream("count", to=3) == [0, 10, 20]
    assert caller.call("total", iter([1, 2])) == 50
    assert caller.stream("double", iter([1, 2])) == [40, 60]
    assert caller.talk("double", [1, 2]) == ([40, 60], [])
    assert caller.call("greet", name="x") == "Hello x of nobody" * 10
    assert seen == [
        ([{"to": 3}], [0, 1, 2]),
        ([1, 2], [5]),
        ([1, 2], [4, 6]),
        ([1, 2], [4, 6]),
        ([{"name": "x"}], ["Hello x of nobody"]),
    ]


@MODES
def test_changes_are_made_outermost_first_and_of_answers_innermost_first(url, mode):
    def adding(text):
        def script(call):
            call.on_request(lambda message: [*message, text])
            call.on_answer(lambda message: [*message, text])
            return (yield)

        return script

    echo = nebula.Service("echo")

    @echo.rpc
    async def same(lists: AsyncIterator[list[str]]) -> AsyncIterator[list[str]]:
        async for each in lists:
            yield each

    # Only the order within one direction matters here, so both directions go over one list.
    from kit import Background

    with Background(echo, address="tcp://127.0.0.1:0") as server:
        caller = Caller(server.urls[0], mode, "echo", adding("a"), adding("b"))
        assert caller.talk("same", [[]]) == ([["a", "b", "b", "a"]], [])


@MODES
def test_next_is_once_for_a_stream(url, mode):
    def script(call):
        assert call.is_stream
        yield
        yield

    with pytest.raises(RuntimeError, match="called once"):
        Caller(url, mode, LOOP, script).stream("count", to=1)


@MODES
def test_a_stream_that_a_filter_does_not_let_through_is_empty(url, mode):
    def script(call):
        return
        yield

    caller = Caller(url, mode, LOOP, script)
    assert caller.stream("count", to=3) == []
    with pytest.raises(EOFError):
        caller.talk("double", [1])


@MODES
def test_the_deadline_is_for_all_that_filters_do(url, mode):
    def script(call):
        assert call.timeout == 0.05
        call.timeout = PATIENCE  # does not make it longer
        try:
            yield
        except nebula.Error as error:
            assert error.code == nebula.DEADLINE_EXCEEDED
        return (yield)

    with pytest.raises(nebula.Error) as caught:
        Caller(url, mode, LOOP, script).call("hang", {}, timeout=0.05)
    assert caught.value.code == nebula.DEADLINE_EXCEEDED
    assert caught.value.fate == nebula.Fate.UNSENT


@MODES
def test_a_filter_may_shorten_it(url, mode):
    def script(call):
        call.timeout = 0.02
        return (yield)

    with pytest.raises(nebula.Error) as caught:
        Caller(url, mode, LOOP, script).call("hang")
    assert caught.value.code == nebula.DEADLINE_EXCEEDED


def test_cancelling_a_call_cancels_its_filters(url):
    began, ended = [], []

    async def filter(call, next):
        began.append(1)
        try:
            return await next()
        except asyncio.CancelledError:
            ended.append(1)
            raise

    async def main():
        channel = nebula.connect(url, filters=[filter])
        task = asyncio.ensure_future(channel.call("/loop/hang"))
        while not began:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    aio(main)
    assert ended == [1]


@MODES
def test_a_dropped_stream_ends_its_filters(url, mode):
    ended = []

    def script(call):
        try:
            yield
        except nebula.Error as error:
            ended.append(error.code)
            raise

    caller = Caller(url, mode, LOOP, script)
    channel, service = caller._service()
    if mode == "sync":
        stream = service.double.open()
        stream.send(1)
        assert stream.receive() == 2
        del stream
        eventually(lambda: ended == [nebula.CANCELLED])
    else:

        async def main():
            stream = service.double.open()
            await stream.send(1)
            assert await stream.receive() == 2
            del stream
            while not ended:
                await asyncio.sleep(0.001)

        aio(main)
        assert ended == [nebula.CANCELLED]
    channel.close()


@MODES
def test_filters_of_a_service_and_of_a_call_are_inside_of_those_of_the_channel(url, mode):
    seen = []

    def named(name):
        def plain(call, next):  # fits both kinds of client, as it hands on what next gives
            seen.append(name)
            return next()

        return plain

    channel = nebula.connect(url, mode=mode, filters=[named("channel")])
    service = channel.service(LOOP, filters=[named("service")])
    with channel:
        if mode == "sync":
            service.greet({}, filters=[named("call")])
            reply = channel.exchange("/loop/greet", {}, metadata={"tenant": "b"})
        else:

            async def main():
                await service.greet({}, filters=[named("call")])
                return await channel.exchange("/loop/greet", {}, metadata={"tenant": "b"})

            reply = aio(main)
    assert seen == ["channel", "service", "call", "channel"]
    assert reply.value == "Hello world of nobody"
    assert (reply.headers.get("early"), reply.trailers.get("late")) == ("1", "b")


def test_use_is_for_calls_by_name(serving, monkeypatch):
    apps, _ = services()
    serving(*apps)
    by_name = nebula.service(LOOP)._channel
    monkeypatch.setattr(by_name, "_filters", ())
    nebula.use(lambda call, next: next() + "!")
    nebula.use(lambda call, next: next() + "?")
    assert nebula.service(LOOP, timeout=PATIENCE, mode="sync").greet() == "Hello world of nobody?!"


def test_an_async_filter_of_a_plain_call_is_a_clear_mistake(url):
    async def filter(call, next):
        return await next()

    with pytest.raises(TypeError, match="async filter"):
        nebula.connect(url, filters=[filter]).call("/loop/greet")
    with pytest.raises(TypeError, match="a filter is a function"):
        nebula.connect(url, filters=["log"])


# ---- of a server ----------------------------------------------------------------------------------------------------


@NAMES
def test_a_server_filter_refuses_before_the_handler_runs(serving, name):
    async def authenticated(call, next):
        if call.metadata.get("token") != "secret":
            raise nebula.Error(nebula.UNAUTHENTICATED, "who are you?", {"realm": "test"})
        who.set("Ada")
        return await next()

    apps, served = services()
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[authenticated]).urls[0]
    service = nebula.connect(url).service(name, timeout=PATIENCE)
    for refused in (lambda: service.greet(), lambda: list(service.count.stream(to=3))):
        with pytest.raises(nebula.Error, match="who are you") as caught:
            refused()
        assert caught.value.code == nebula.UNAUTHENTICATED and caught.value.metadata.get("realm") == "test"
    assert served["calls"] == 0
    # What it sets in a context variable is there for the handler.
    assert service.greet({"name": "x"}, metadata={"token": "secret"}) == "Hello x of Ada"
    assert served["calls"] == 1


@NAMES
def test_a_server_filter_sees_and_changes_what_there_is_of_a_call(serving, name):
    seen = []

    async def outer(call, next):
        assert call.request == {"name": "Ada"} and call.method == f"/{name}/greet"
        assert call.peer.startswith("tcp://127.0.0.1:") and 0 < call.timeout <= PATIENCE
        call.metadata = {"tenant": call.metadata.get("tenant", "") + "+"}
        call.request = {"name": "Eve"}
        answer = await next()
        seen.append((answer, call.trailers.get("late")))
        call.context.set_trailing_metadata({"late": "changed"})
        return answer.upper()

    async def inner(call, next):
        seen.append(call.request)
        return await next()

    apps, _ = services(**{name: [inner]})
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[outer]).urls[0]
    with nebula.connect(url) as channel:
        reply = channel.exchange(f"/{name}/greet", {"name": "Ada"}, metadata={"tenant": "a"}, timeout=PATIENCE)
    assert reply.value == "HELLO EVE OF NOBODY" and reply.trailers.get("late") == "changed"
    assert seen == [{"name": "Eve"}, ("Hello Eve of nobody", "a+")]


@NAMES
def test_a_server_filter_answers_by_itself_or_makes_of_an_error_what_it_likes(serving, name):
    async def filter(call, next):
        if call.metadata.get("cached"):
            return "cached"
        try:
            return await next()
        except nebula.Error as error:
            return f"{error.code.name} {error.metadata.get('why')}"

    apps, served = services()
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[filter]).urls[0]
    service = nebula.connect(url).service(name, timeout=PATIENCE)
    assert service.greet({}, metadata={"cached": "1"}) == "cached" and served["calls"] == 0
    assert service.fail(name="x") == "NOT_FOUND test" and served["calls"] == 1


@NAMES
def test_messages_of_all_shapes_pass_through_a_server_filter(serving, name):
    async def counting(call, next):
        there, back = [], []
        call.on_request(lambda message: there.append(message) or (message + 1 if call.request is None else message))
        call.on_answer(lambda message: back.append(message) or message * 10)
        answer = await next()
        seen.append((there, back))
        return answer

    seen = []
    apps, _ = services(**{name: [counting]})
    url = serving(*apps, address="tcp://127.0.0.1:0").urls[0]
    service = nebula.connect(url).service(name, timeout=PATIENCE)
    assert list(service.count.stream(to=3)) == [0, 10, 20]
    assert service.total(iter([1, 2])) == 50
    assert list(service.double.stream(iter([1, 2]))) == [40, 60]
    eventually(lambda: len(seen) == 3)  # its last message goes before the filter's end
    assert seen == [([{"to": 3}], [0, 1, 2]), ([1, 2], [5]), ([1, 2], [4, 6])]


@NAMES
def test_a_malformed_request_fails_where_a_filter_looks_at_it(serving, name):
    seen = []

    async def filter(call, next):
        seen.append("before")
        try:
            return await next()
        except nebula.Error as error:
            seen.append(error.code)
            raise

    apps, served = services()
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[filter]).urls[0]
    with pytest.raises(nebula.Error) as caught:
        nebula.connect(url).call(f"/{name}/greet", b'{"nme": "x"}')  # bytes are not checked before they are sent
    assert caught.value.code == nebula.INVALID_ARGUMENT
    assert seen == ["before", nebula.INVALID_ARGUMENT] and served["calls"] == 0


def test_what_a_server_filter_raises_is_unknown_and_logged(serving, caplog):
    async def filter(call, next):
        raise ValueError("a mistake")

    apps, _ = services()
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[filter]).urls[0]
    with pytest.raises(nebula.Error, match="ValueError: a mistake") as caught:
        nebula.connect(url).service(LOOP).greet()
    assert caught.value.code == nebula.UNKNOWN
    assert "loop.greet failed" in caplog.text


def test_a_caller_that_goes_cancels_a_server_filter(serving):
    began, ended = threading.Event(), threading.Event()

    async def filter(call, next):
        began.set()
        try:
            return await next()
        finally:
            ended.set()

    apps, _ = services()
    url = serving(*apps, address="tcp://127.0.0.1:0", filters=[filter]).urls[0]

    async def main():
        call = asyncio.ensure_future(nebula.connect(url).call("/loop/hang"))
        while not began.is_set():
            await asyncio.sleep(0.001)
        call.cancel()

    aio(main)
    assert ended.wait(PATIENCE)


def test_calls_of_a_server_filter_inherit_its_deadline(serving):
    apps, _ = services()
    below = serving(*apps, address="tcp://127.0.0.1:0").urls[0]

    async def filter(call, next):
        return await nebula.connect(below, mode="aio").call("/loop/hang")

    above = serving(*services()[0], address="tcp://127.0.0.1:0", filters=[filter]).urls[0]
    with pytest.raises(nebula.Error) as caught:
        nebula.connect(above).service(LOOP).greet({}, timeout=0.1)
    assert caught.value.code == nebula.DEADLINE_EXCEEDED

"""Fixtures of the tests against stock gRPC. The kit is that of the Python binding's own tests."""

import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bindings" / "python" / "tests"))

from kit import Background, message_classes  # noqa: E402

import nebula  # noqa: E402


@pytest.fixture(scope="session")
def protos():
    return message_classes(pathlib.Path(__file__).with_name("echo.proto"), grpc=True)


@pytest.fixture(scope="session")
def echo(protos):
    """The messages of echo.proto."""
    return protos[0]


@pytest.fixture(scope="session")
def stubs(protos):
    """The stubs and servicers that grpc_tools made of echo.proto."""
    return protos[1]


class Notes:
    """What handlers saw."""

    def __init__(self):
        self.began, self.cancelled = threading.Event(), threading.Event()
        self.metadata = ()
        self.left = None


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def nebula_url(echo, notes):
    """A Nebula server with interop.v1.Echo (protobuf) and hello (JSON); its address as gRPC writes it."""
    app, hello = nebula.Service("interop.v1.Echo"), nebula.Service("hello")

    async def Say(req, ctx):
        notes.metadata, notes.left = ctx.metadata, ctx.time_remaining()
        ctx.send_initial_metadata({"first": "1", "first-bin": b"\x00\xff\x10"})
        ctx.set_trailing_metadata([("last", "2"), ("last", "3"), ("last-bin", b"\xff\x00")])
        if req.status:
            raise nebula.Error(req.status, req.message)
        return echo.EchoReply(text=req.text, payload=req.payload or b"x" * req.answer_size)

    async def Wait(req, ctx):
        import asyncio

        notes.began.set()
        try:
            await asyncio.sleep(60)
        finally:
            if ctx.cancelled:
                notes.cancelled.set()

    for handler in (Say, Wait):
        handler.__annotations__ = {"req": echo.EchoRequest, "ctx": nebula.Context, "return": echo.EchoReply}
        app.rpc(handler)

    @hello.rpc
    def greet(name: str = "world") -> str:
        return f"Hello {name}!"

    with Background(app, hello, address="tcp://127.0.0.1:0", drain_timeout=0.1) as server:
        yield server.urls[0]


@pytest.fixture
def address(nebula_url):
    return nebula_url.removeprefix("tcp://")

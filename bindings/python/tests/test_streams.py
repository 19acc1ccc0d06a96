"""Streams that end well: every shape, written and called in every way."""

from __future__ import annotations

import asyncio

import pytest
from kit import aio
from streams_kit import Client, Json, Proto, loop_service, thread_service

import nebula

MANY = 100_000
LONG = 120  # seconds, for as many on a machine that has other things to do


@pytest.fixture(params=["json", "proto"])
def kind(request, shop):
    return Json if request.param == "json" else Proto(shop)


@pytest.fixture
def url(serving, kind):
    return serving(loop_service(kind), thread_service(kind), address="tcp://127.0.0.1:0").urls[0]


@pytest.fixture(params=["loop", "threads"])
def name(request):
    return request.param


@pytest.fixture(params=["aio", "sync"])
def client(request, url, name):
    client = Client(url, name, request.param)
    yield client
    client.close()


def numbers(kind, stream):
    return [kind.number_of(answer) for answer in stream]


def test_of_answers(client, kind):
    assert numbers(kind, client.stream("count", kind.one(5), response=kind.response)) == [0, 1, 2, 3, 4]
    assert numbers(kind, client.stream("count", kind.one(0), response=kind.response)) == []


def test_of_requests(client, kind):
    assert kind.number_of(client.call("total", map(kind.ask, range(5)), response=kind.response)) == 10
    assert kind.number_of(client.call("total", iter([]), response=kind.response)) == 0


def test_of_both(client, kind):
    doubled = client.stream("double", map(kind.ask, range(5)), response=kind.response)
    assert numbers(kind, doubled) == [0, 2, 4, 6, 8]


def test_full_duplex(client, kind):
    with client.open("double", response=kind.response) as stream:
        for number in range(100):
            stream.send(kind.ask(number))
            assert kind.number_of(stream.receive()) == 2 * number  # while the stream of requests is open
        stream.send(kind.ask(1000))
        stream.done_sending()
        assert numbers(kind, stream) == [2000]
        with pytest.raises(EOFError):
            stream.receive()
        with pytest.raises((RuntimeError, EOFError)):
            stream.send(kind.ask(1))


def test_one_answer_to_an_open_stream(client, kind):
    with client.open("total", response=kind.response) as stream:
        for number in (1, 2, 3):
            stream.send(kind.ask(number))
        stream.done_sending()
        assert numbers(kind, stream) == [6]


@pytest.mark.parametrize("kind", ["json"], indirect=True)
class TestMany:
    """All messages arrive, and in order."""

    def test_answers(self, client):
        assert list(client.stream("count", {"to": MANY}, timeout=LONG)) == list(range(MANY))

    def test_requests(self, client):
        assert client.call("total", iter(range(MANY)), timeout=LONG) == MANY * (MANY - 1) // 2

    def test_both(self, client):
        assert list(client.stream("double", iter(range(MANY)), timeout=LONG)) == list(range(0, 2 * MANY, 2))


@pytest.mark.parametrize("kind", ["json"], indirect=True)
class TestClient:
    def test_async_iterators_of_requests(self, url):
        async def three():
            for number in range(3):
                await asyncio.sleep(0)
                yield number

        async def main():
            service = nebula.connect(url).service("loop", timeout=5)
            assert await service.total(three()) == 3
            assert [number async for number in service.double.stream(three())] == [0, 2, 4]

        aio(main)

    def test_many_streams_at_once(self, url):
        async def main():
            service = nebula.connect(url).service("loop", timeout=20)

            async def one(size):
                return [number async for number in service.double.stream(iter(range(size)))]

            sizes = [*range(100, 400)]
            assert await asyncio.gather(*map(one, sizes)) == [[2 * i for i in range(size)] for size in sizes]

        aio(main)

    def test_a_stream_keeps_its_channel(self, url):
        stream = nebula.connect(url).service("loop").count.stream(to=3)
        assert list(stream) == [0, 1, 2]

    def test_a_call_for_one_answer_says_what_to_do(self, client, name):
        for size in (0, 2):
            with pytest.raises(nebula.Error) as caught:
                client.call("count", to=size)
            assert caught.value.code == nebula.UNIMPLEMENTED
            assert caught.value.message == f"{name}.count answers with a stream: iterate over {name}.count.stream(...)"

    def test_one_request_for_a_stream_of_them(self, client, name):
        with pytest.raises(nebula.Error) as caught:
            client.call("total")
        assert caught.value.code == nebula.INVALID_ARGUMENT
        assert caught.value.message == f"{name}.total: the message must be an integer, not an object"

    def test_protobuf_needs_its_class(self, client, shop):
        with client.open("double") as stream, pytest.raises(TypeError, match="say response="):
            stream.send(shop.AddRequest())
        with client.open("double", response=shop.AddReply) as stream, pytest.raises(TypeError, match="not a int"):
            stream.send(1)
        with pytest.raises(TypeError, match="response must be bytes or a protobuf message class"):
            client.open("double", response=int)

    def test_bytes_as_they_are(self, client):
        with client.open("double", response=bytes) as stream:
            stream.send(b"21")
            assert stream.receive() == b"42"
        assert list(client.stream("count", b'{"to": 2}')) == [b"0", b"1"]

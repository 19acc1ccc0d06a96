"""Requests are checked by the service's own description before they are sent: no handler hears of a wrong one."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Optional

import kit
import pytest

import nebula


@dataclasses.dataclass
class Address:
    zip: str


calls = 0
hello = nebula.Service("hello")


@hello.rpc
async def greet(name: str, age: int = 0, home: Optional[Address] = None) -> str:
    global calls
    calls += 1
    return f"Hello {name}!"


@hello.rpc
async def total(prices: AsyncIterator[float]) -> float:
    global calls
    calls += 1
    return sum([price async for price in prices])


@pytest.fixture(scope="module")
def url():
    with kit.Background(hello, address="tcp://127.0.0.1:0") as server:
        yield server.urls[0]


@pytest.fixture
def client(url):
    global calls
    calls = 0
    with nebula.connect(url) as channel:
        yield channel.service("hello", timeout=kit.PATIENCE)


WRONG = [
    ("greet", {"nmae": "Ada"}, 'hello.greet has no field "nmae" (fields: name, age, home); did you mean "name"?'),
    ("greet", {"name": "Ada", "age": "old"}, 'hello.greet: field "age" must be an integer, not a string'),
    ("greet", {"name": "Ada", "home": {"zip": 1}}, 'hello.greet: field "home.zip" must be a string, not a number'),
    ("greet", {}, 'hello.greet: field "name" is missing'),
    ("greet", [1], "hello.greet: the message must be an object, not a list"),
]


def expect_unsent(error, code, message):
    assert (error.code, error.message) == (code, message)
    assert (error.fate, error.fault) == (nebula.Fate.UNSENT, nebula.Fault.CALLER)
    assert calls == 0


@pytest.mark.parametrize("method, request_, message", WRONG)
def test_a_wrong_request_is_not_sent(client, method, request_, message):
    with pytest.raises(nebula.Error) as caught:
        client[method](request_)
    expect_unsent(caught.value, nebula.INVALID_ARGUMENT, message)


def test_nor_is_it_by_an_event_loop(client):
    async def call():
        await client.greet(nmae="Ada")

    with pytest.raises(nebula.Error) as caught:
        asyncio.run(call())
    expect_unsent(caught.value, nebula.INVALID_ARGUMENT, WRONG[0][2])


def test_an_unknown_method_is_not_called(client):
    with pytest.raises(nebula.Error) as caught:
        client.gret(name="Ada")
    message = 'hello has no method "gret" (methods: greet, total); did you mean "greet"?'
    expect_unsent(caught.value, nebula.UNIMPLEMENTED, message)


def test_each_message_of_a_stream_is_checked(client):
    assert client.total(iter([1, 2.5])) == 3.5
    with pytest.raises(nebula.Error) as caught:
        client.total(iter([1, "two"]))
    assert caught.value.code == nebula.INVALID_ARGUMENT
    assert caught.value.message == "hello.total: the message must be a number, not a string"


@pytest.mark.parametrize("method, request_, message", WRONG)
def test_the_server_says_the_same_of_what_nobody_has_checked(client, url, method, request_, message):
    with nebula.connect(url) as channel, pytest.raises(nebula.Error) as caught:
        channel.call(f"/hello/{method}", nebula.codec.dumps(request_), timeout=kit.PATIENCE)
    assert (caught.value.code, caught.value.message) == (nebula.INVALID_ARGUMENT, message)
    assert caught.value.fate == nebula.Fate.PROCESSED


def test_a_service_that_was_deployed_anew_is_asked_anew():
    def service(**fields):
        app = nebula.Service("phoenix")

        async def old(name: str) -> str:
            return name

        async def new(name: str, age: int = 0) -> str:
            return f"{name} {age}"

        app.rpc(new if fields else old, name="greet")
        return app

    phoenix = nebula.service("phoenix", timeout=kit.PATIENCE)
    with kit.Background(service()):
        with pytest.raises(nebula.Error, match='has no field "age"'):
            phoenix.greet(name="Ada", age=7)
    with kit.Background(service(age=int)):
        assert phoenix.greet({"name": "Ada", "age": 7}, wait_for_ready=True) == "Ada 7"


def test_protobuf_by_a_dict_is_checked_by_its_message(shop):
    app = nebula.Service("test.v1.Shop")
    seen = []

    def add(request: shop.AddRequest) -> shop.AddReply:
        seen.append(request)
        return shop.AddReply()

    add.__annotations__ = {"request": shop.AddRequest, "return": shop.AddReply}
    app.rpc(add, name="Add")
    with kit.Background(app, address="tcp://127.0.0.1:0") as server, nebula.connect(server.urls[0]) as channel:
        client = channel.service("test.v1.Shop", timeout=kit.PATIENCE)
        with pytest.raises(nebula.Error) as caught:
            client.Add(itm="tea")
        assert caught.value.code == nebula.INVALID_ARGUMENT and 'has no field "itm"' in caught.value.message
        assert caught.value.fate == nebula.Fate.UNSENT and not seen
        client.Add(item="tea")
        assert [request.item for request in seen] == ["tea"]

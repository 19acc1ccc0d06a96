"""Methods that are declared by their signatures."""

from __future__ import annotations

import contextvars
import dataclasses
import logging
import threading
from typing import List, Optional

import pytest
from kit import aio

import nebula

hello = nebula.Service("hello")


@dataclasses.dataclass
class Item:
    name: str
    price: float


@hello.rpc
def greet(name: str = "world") -> str:
    return f"Hello {name}!"


@hello.rpc
async def greet_soon(name: str) -> str:
    return f"Hello {name}!"


@hello.rpc(name="total.price")
def total(items: List[Item], rebate: Optional[float] = None) -> dict:
    return {"total": sum(item.price for item in items) - (rebate or 0)}


@hello.rpc
def nothing() -> None:
    pass


@hello.rpc
def anything(value=None):
    return value


@hello.rpc
def liar() -> str:
    return 3


@hello.rpc
def unspeakable():
    return {1, 2}


@hello.rpc
def whereabouts(ctx: nebula.Context, tag: str = "") -> dict:
    return {"thread": threading.current_thread().name, "method": ctx.method, "tag": tag}


@pytest.fixture
def channel(serving):
    with nebula.connect(serving(hello, address="tcp://127.0.0.1:0").urls[0]) as channel:
        yield channel


@pytest.fixture
def client(channel):
    return channel.service("hello", timeout=5)


def test_a_method_is_called_with_its_fields(client):
    assert client.greet(name="Ada") == "Hello Ada!"
    assert client.greet() == "Hello world!"
    assert client.greet_soon(name="Ädä 🎉") == "Hello Ädä 🎉!"
    assert client.greet({"name": "Ada"}) == "Hello Ada!"
    assert client["total.price"](items=[{"name": "a", "price": 1}, {"name": "b", "price": 2.5}], rebate=0.5) == {
        "total": 3.0
    }
    assert client["total.price"](items=[Item("a", 1.0)]) == {"total": 1.0}
    assert client.nothing() is None
    assert client.anything(value=[1, None, {"a": "b"}]) == [1, None, {"a": "b"}]


def test_the_function_itself_stays_as_it_was():
    assert greet("Ada") == "Hello Ada!" and greet.__name__ == "greet"


def test_a_plain_handler_runs_in_a_worker_thread_and_gets_its_context(client):
    answer = client.whereabouts(tag="t")
    assert answer["thread"].startswith("nebula-") and answer["method"] == "/hello/whereabouts" and answer["tag"] == "t"


def test_no_body_and_an_empty_one_are_no_fields(channel):
    assert channel.call("/hello/greet", timeout=5) == "Hello world!"
    assert channel.call("/hello/greet", b"", timeout=5) == b'"Hello world!"'


@pytest.mark.parametrize(
    "method, fields, message",
    [
        ("greet", {"name": 3}, 'hello.greet: field "name" must be a string, not a number'),
        ("greet", {"nmae": "Ada"}, 'hello.greet has no field "nmae" (fields: name); did you mean "name"?'),
        ("greet", {"zzzzzz": 1}, 'hello.greet has no field "zzzzzz" (fields: name)'),
        ("greet_soon", {}, 'hello.greet_soon: field "name" is missing'),
        ("greet_soon", {"name": None}, 'hello.greet_soon: field "name" must be a string, not null'),
        ("nothing", {"a": 1}, 'hello.nothing has no field "a" (fields: none)'),
        (
            "total.price",
            {"items": [{"name": "a", "price": "x"}]},
            'hello.total.price: field "items[0].price" must be a number, not a string',
        ),
        ("total.price", {"items": [{"name": "a"}]}, 'hello.total.price: field "items[0].price" is missing'),
        ("whereabouts", {"ctx": 1}, 'hello.whereabouts has no field "ctx" (fields: tag)'),
    ],
)
def test_fields_of_another_kind_are_refused_by_name(client, method, fields, message):
    with pytest.raises(nebula.Error) as caught:
        client[method](fields)
    assert (caught.value.code, caught.value.message) == (nebula.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    "body, message",
    [
        (b"{", "hello.greet: malformed JSON: Expecting property name"),
        (b"\xff\xfe", "hello.greet: malformed JSON: not UTF-8 at byte 0"),
        (b"[1]", "hello.greet: the message must be an object, not a list"),
        (b'"Ada"', "hello.greet: the message must be an object, not a string"),
        (b'{"name":NaN}', "hello.greet: malformed JSON: NaN is not JSON"),
        (b'{"name":' + b"[" * 50_000, "hello.greet: malformed JSON: "),
        (b"\0" * 1000, "hello.greet: malformed JSON: "),
    ],
)
def test_malformed_json_is_an_invalid_argument_and_the_service_lives_on(channel, body, message):
    with pytest.raises(nebula.Error) as caught:
        channel.call("/hello/greet", body, timeout=5)
    assert caught.value.code == nebula.INVALID_ARGUMENT and caught.value.message.startswith(message)
    assert channel.call("/hello/greet", {"name": "Ada"}, timeout=5) == "Hello Ada!"


def test_protobuf_to_a_json_method_is_unimplemented_and_says_what_is_accepted(channel, shop):
    with pytest.raises(nebula.Error) as caught:
        channel.call("/hello/greet", shop.AddRequest(item="tea"), response=shop.AddReply, timeout=5)
    assert caught.value.code == nebula.UNIMPLEMENTED
    assert caught.value.message == "hello.greet accepts application/grpc+json, not application/grpc+proto"


def test_an_unknown_method_is_unimplemented(client):
    with pytest.raises(nebula.Error) as caught:
        client.gret(name="Ada")
    assert caught.value.code == nebula.UNIMPLEMENTED


@pytest.mark.parametrize(
    "method, text",
    [
        ("liar", "the result must be a string, not a number"),
        ("unspeakable", "the result cannot be encoded: a set has no form in JSON"),
    ],
)
def test_a_result_that_cannot_be_sent_is_internal_and_logged(client, caplog, method, text):
    with pytest.raises(nebula.Error) as caught:
        client[method]()
    assert (caught.value.code, caught.value.message) == (nebula.INTERNAL, f"hello.{method}: {text}")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        f"hello.{method}: {text}"
    ]


def test_context_variables_of_one_call_are_not_the_next_ones():
    seen = contextvars.ContextVar("seen", default="nothing")
    app = nebula.Service("vars")

    def look() -> str:
        before = seen.get()
        seen.set("something")
        return before

    async def look_async() -> str:
        return look()

    app.rpc(look)
    app.rpc(look_async)

    async def main():
        seen.set("from the program")
        async with nebula.serve(app, address="tcp://127.0.0.1:0", workers=1) as server:
            client = nebula.connect(server.urls[0]).service("vars")
            return [await client.look(), await client.look(), await client.look_async(), await client.look_async()]

    assert aio(main) == ["from the program"] * 4


# ---- what is refused where it is written -----------------------------------------------------------------------------


def test_an_unsupported_hint_names_its_parameter():
    with pytest.raises(TypeError, match='a.f: parameter "x": set has no form in JSON'):

        @nebula.Service("a").rpc
        def f(x: set) -> None: ...

    with pytest.raises(TypeError, match="a.f: the return type: set has no form in JSON"):

        @nebula.Service("a").rpc
        def f(x: int) -> set: ...


def test_a_signature_without_names_is_refused():
    app = nebula.Service("a")
    for function in (lambda *args: 0, lambda **fields: 0, eval("lambda x, /: 0")):
        with pytest.raises(TypeError, match="has no field; use named parameters"):
            app.rpc(function, name="f")
    with pytest.raises(TypeError, match='parameter "ctx" needs its type: nebula.Context'):
        app.rpc(lambda ctx: 0, name="f")
    with pytest.raises(TypeError, match="does not resolve"):

        @app.rpc
        def g(x: Unheard) -> None: ...  # noqa: F821


def test_names_are_checked():
    for name in ("", "a/b", ".a", "a b", "ü", "a" * 201):
        with pytest.raises(ValueError, match="is not a service's name"):
            nebula.Service(name)
        with pytest.raises(ValueError, match="is not a service's name"):
            nebula.service(name)
    app = nebula.Service("a")
    app.rpc(greet)
    with pytest.raises(ValueError, match="there is a method 'greet' already"):
        app.rpc(greet)
    with pytest.raises(ValueError, match="is not a method's name"):
        app.rpc(lambda: 0)
    with pytest.raises(ValueError, match="there is no method to serve"):
        nebula.serve(nebula.Service("a"))
    with pytest.raises(ValueError, match="the same name"):
        nebula.serve(app, app)


def test_methods_of_objects_partials_and_callables_can_be_served(serving):
    import functools

    class Counter:
        def __init__(self):
            self.count = 0

        async def add(self, by: int = 1) -> int:
            self.count += by
            return self.count

        async def __call__(self, a: int) -> int:
            return a * 2

    def power(base: int, exponent: int) -> int:
        return base**exponent

    app = nebula.Service("counter")
    app.rpc(Counter().add)
    app.rpc(Counter(), name="double")
    app.rpc(functools.partial(power, exponent=2), name="square")
    client = nebula.connect(serving(app, address="tcp://127.0.0.1:0").urls[0]).service("counter", timeout=5)
    assert (client.add(by=2), client.add(), client.double(a=4), client.square(base=3)) == (2, 3, 8, 9)

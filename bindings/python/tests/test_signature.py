"""Which streams a handler's signature means, and which signatures are refused."""

from __future__ import annotations

from typing import Any, AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator

import pytest

import nebula
from nebula import _nebula
from nebula.method import make_method

UNARY, CLIENT, SERVER, BIDI = (
    _nebula.UNARY, _nebula.CLIENT_STREAM, _nebula.SERVER_STREAM, _nebula.BIDI
)  # fmt: skip


async def one(n: int) -> int: ...
async def lines(lines: AsyncIterator[str]) -> int: ...
async def feed(n: int) -> AsyncIterator[int]:
    yield n
async def chat(ctx: nebula.Context, lines: AsyncIterable[str]) -> AsyncGenerator[str, None]:
    yield ""
async def bare(lines: AsyncIterator):
    yield 1
def thread_lines(lines: Iterator[str], ctx: nebula.Context) -> int: ...
def thread_feed(n: int) -> Generator[int, None, None]:
    yield n
def thread_chat(lines: Iterator[str]) -> Iterable[str]:
    yield ""
def handed_on(n: int) -> AsyncIterator[int]:
    return feed(n)
def made(n: int) -> Iterator[int]:
    return iter(range(n))


@pytest.mark.parametrize(
    "function, shape, is_async",
    [
        (one, UNARY, True), (lines, CLIENT, True), (feed, SERVER, True), (chat, BIDI, True), (bare, BIDI, True),
        (thread_lines, CLIENT, False), (thread_feed, SERVER, False), (thread_chat, BIDI, False),
        (handed_on, SERVER, True), (made, SERVER, False),
    ],
)  # fmt: skip
def test_the_shape_follows_from_the_signature(function, shape, is_async):
    method = make_method("s", "m", function)
    assert (method.shape, method.is_async) == (shape, is_async)


async def sync_source(lines: Iterator[int]) -> int: ...
def async_source(lines: AsyncIterator[int]) -> int: ...
async def two(a: AsyncIterator[int], b: AsyncIterator[int]) -> int: ...
async def beside(lines: AsyncIterator[int], n: int) -> int: ...
async def formless(lines: AsyncIterator[complex]) -> int: ...
async def generator_of_one(n: int) -> int:
    yield n
def sync_generator(n: int) -> AsyncIterator[int]:
    yield n
async def async_result(n: int) -> Iterator[int]: ...
def answers(n: int) -> Iterator[complex]:
    yield 1


@pytest.mark.parametrize(
    "function, text",
    [
        (sync_source, 's.m: parameter "lines": it must be AsyncIterator[...], not Iterator[int]'),
        (async_source, 's.m: parameter "lines": it must be Iterator[...], not AsyncIterator[int]'),
        (two, 's.m: parameter "b": there is one stream of requests, and "a" is it'),
        (beside, 's.m: parameter "n" cannot stand beside the stream "lines", which is the whole request'),
        (formless, 's.m: parameter "lines": complex has no form in JSON'),
        (generator_of_one, "s.m: the return type: what yields is AsyncIterator[...], not int"),
        (sync_generator, "s.m: the return type: it must be Iterator[...], not AsyncIterator[int]"),
        (async_result, "s.m: the return type: it must be AsyncIterator[...], not Iterator[int]"),
        (answers, "s.m: the return type: complex has no form in JSON"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(function, text):
    with pytest.raises(TypeError) as caught:
        make_method("s", "m", function)
    assert str(caught.value).startswith(text)


def test_protobuf_classes_may_be_streamed(shop):
    async def chat(requests, ctx):
        yield shop.AddReply()

    chat.__annotations__ = {
        "requests": AsyncIterator[shop.AddRequest], "ctx": nebula.Context, "return": AsyncIterator[shop.AddReply]
    }  # fmt: skip
    assert make_method("s", "m", chat).shape == BIDI
    chat.__annotations__["return"] = AsyncIterator[Any]
    with pytest.raises(TypeError, match="a method with messages is"):
        make_method("s", "m", chat)


def test_the_line_that_says_how_to_call():
    assert make_method("s", "m", feed).example() == 'nebula.service("s").m.stream(n=1)'
    assert make_method("s", "m", chat).example() is None

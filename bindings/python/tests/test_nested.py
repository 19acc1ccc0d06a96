"""Calls of a handler share the retries that are left to its own call: three tries remain three, on however many levels."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import AsyncIterator

import pytest

import nebula


@pytest.fixture
def tree(serving):
    """Methods that call `last`, which fails, each in its way; and how often each of them was called."""
    app = nebula.Service("tree")
    calls: Counter[str] = Counter()
    own = {}

    def call(ctx, method, mode):
        calls[ctx.method] += 1
        return nebula.connect(own["url"], mode=mode).call(f"/tree/{method}", {}, idempotent=True)

    @app.rpc
    async def last(ctx: nebula.Context) -> None:
        assert not ctx.metadata.get("nebula-retries-left")
        calls[ctx.method] += 1
        raise nebula.Error(nebula.UNAVAILABLE, "not now", {"order": "7"})

    @app.rpc
    async def by_task(ctx: nebula.Context) -> None:
        await asyncio.create_task(call(ctx, "last", "aio"))

    @app.rpc
    def by_thread(ctx: nebula.Context) -> None:
        call(ctx, "last", "sync")

    @app.rpc
    async def by_stream(ctx: nebula.Context) -> AsyncIterator[int]:
        await call(ctx, "last", "aio")
        yield 1

    @app.rpc
    async def twice_removed(ctx: nebula.Context) -> None:
        await call(ctx, "by_thread", "aio")

    @app.rpc
    async def detached(ctx: nebula.Context) -> None:
        with nebula.detached():
            await call(ctx, "last", "aio")

    @app.rpc
    async def patient(ctx: nebula.Context) -> None:
        ctx.set_trailing_metadata({"grpc-retry-pushback-ms": "1"})
        try:
            await call(ctx, "last", "aio")
        except nebula.Error as error:
            raise nebula.Error(error.code, error.message)

    own["url"] = serving(app, address="tcp://127.0.0.1:0").urls[0]
    return nebula.connect(own["url"]), calls


@pytest.mark.parametrize(
    "method, times, pushback",
    [
        ("by_task", {"last": 3, "by_task": 1}, "-1"),
        ("by_thread", {"last": 3, "by_thread": 1}, "-1"),
        ("twice_removed", {"last": 3, "by_thread": 1, "twice_removed": 1}, "-1"),
        ("detached", {"last": 9, "detached": 3}, None),
        ("patient", {"last": 3 + 2 + 1, "patient": 3}, "1"),
    ],
)
def test_retries_do_not_multiply(tree, method, times, pushback):
    channel, calls = tree
    with pytest.raises(nebula.Error) as caught:
        channel.call(f"/tree/{method}", {}, idempotent=True)
    error = caught.value
    assert error.code == nebula.UNAVAILABLE and error.metadata.get("grpc-retry-pushback-ms") == pushback
    assert calls == {f"/tree/{name}": count for name, count in times.items()}
    # What a handler lets through arrives whole.
    assert error.metadata.get("order") == (None if method == "patient" else "7")


def test_nor_do_those_of_a_stream(tree):
    channel, calls = tree
    with pytest.raises(nebula.Error) as caught:
        list(channel.stream("/tree/by_stream", {}, idempotent=True))
    assert caught.value.code == nebula.UNAVAILABLE
    assert calls == {"/tree/last": 3, "/tree/by_stream": 1}

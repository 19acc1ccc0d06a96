# bindings/python/served.py - the service: each request says what its handler does, in the order of conformance.proto.
import asyncio
import contextlib
from typing import AsyncIterator

import nebula
from conformance_pb2 import Answer, Ask, Key, Pair, Record

app = nebula.Service("nebula.test.v1.Conformance")
records = {}  # by key
itself = None  # the channel to this server, for what is relayed


def reach(url):
    """Says where this server is."""
    global itself
    itself = nebula.connect(url)


class Work:
    """One call being handled: `ask` is its first request, if it has one."""

    def __init__(self, ask, context):
        self.ask = Ask() if ask is None else ask
        self.context = context
        self.record = Record(state="running")
        self.index = self.bytes = 0
        if ask is not None:
            self.count(ask)
        if self.ask.key:
            records[self.ask.key] = self.record

    def __enter__(self):
        if self.ask.headers:
            self.context.send_initial_metadata(metadata_of(self.ask.headers))
        if self.ask.trailers:
            self.context.set_trailing_metadata(metadata_of(self.ask.trailers))
        return self

    def __exit__(self, kind, error, trace):
        # A generator whose caller has gone is closed.
        gone = kind is not None and issubclass(kind, (asyncio.CancelledError, GeneratorExit))
        self.record.state = "cancelled" if gone else "finished"

    def count(self, ask):
        self.record.received += 1
        self.bytes += len(ask.payload)

    async def answer(self, ask):
        """Waits, relays if that has not been done, and answers with what `ask` has."""
        if self.ask.delay_ms:
            await asyncio.sleep(self.ask.delay_ms / 1000)
        left = self.context.time_remaining()
        answer = Answer(
            payload=bytes(self.ask.answer_size) or ask.payload,
            text=ask.text,
            number=ask.number,
            metadata=pairs_of(self.context.metadata),
            left_ms=-1 if left is None else int(left * 1000),
            received=self.record.received,
            received_bytes=self.bytes,
            index=self.index,
        )
        if self.ask.HasField("relay") and self.index == 0:
            answer.relayed.CopyFrom(await self.relayed())
        self.index += 1
        return answer

    async def relayed(self):
        timeout = self.ask.relay_timeout_ms / 1000 or None
        with nebula.detached() if self.ask.detached else contextlib.nullcontext():
            return await itself.call(f"/{app.name}/Unary", self.ask.relay, timeout=timeout)

    def fail(self):
        """Fails if it is to."""
        if self.ask.throw:
            raise RuntimeError(self.ask.message)
        if self.ask.status:
            raise nebula.Error(self.ask.status, self.ask.message)


def metadata_of(pairs):
    return [(pair.name, pair.data if pair.name.endswith("-bin") else pair.text) for pair in pairs]


def pairs_of(metadata):
    return [
        Pair(name=name, **{"data" if isinstance(value, bytes) else "text": value})
        for name, value in metadata
        if name.startswith("x-")
    ]


@app.rpc
async def Unary(ask: Ask, context: nebula.Context) -> Answer:
    with Work(ask, context) as work:
        answer = await work.answer(ask)
        work.fail()
        work.record.sent += 1
        return answer


@app.rpc
async def Collect(asks: AsyncIterator[Ask], context: nebula.Context) -> Answer:
    first = await anext(asks, None)
    with Work(first, context) as work:
        if not work.ask.early:
            async for ask in asks:
                work.count(ask)
        answer = await work.answer(work.ask)
        work.fail()
        work.record.sent += 1
        return answer


@app.rpc
async def Produce(ask: Ask, context: nebula.Context) -> AsyncIterator[Answer]:
    with Work(ask, context) as work:
        for _ in range(ask.answers):
            yield await work.answer(ask)
            work.record.sent += 1
        work.fail()


@app.rpc
async def Chat(asks: AsyncIterator[Ask], context: nebula.Context) -> AsyncIterator[Answer]:
    first = await anext(asks, None)
    if first is None:
        return
    with Work(first, context) as work:
        yield await work.answer(first)
        work.record.sent += 1
        if not first.early:
            async for ask in asks:
                work.count(ask)
                yield await work.answer(ask)
                work.record.sent += 1
        work.fail()


@app.rpc
async def Recall(key: Key, context: nebula.Context) -> Record:
    return records.get(key.key, Record(state="unknown"))

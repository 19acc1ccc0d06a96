# bindings/python/called.py - runs a case: one call, or many of one kind, and says what came of it.
import asyncio
import base64
import collections
import contextlib
import time

import nebula
from conformance_pb2 import Answer, Ask, Key
from google.protobuf.json_format import MessageToDict, ParseDict

SERVICE = "/nebula.test.v1.Conformance/"
SHOWN_MAX = 20  # answers of a result; of more only the first and the last
RECALL_S = 5


class Run:
    """One call of a case."""

    def __init__(self, channel, case):
        self.channel = channel
        self.case = case
        self.is_json = case.get("codec") == "json"
        self.path = case["method"] if case["method"].startswith("/") else SERVICE + case["method"]
        self.asks = [same for ask in case.get("asks", []) for same in [self.request(ask)] * ask.get("times", 1)]
        self.options = {
            "timeout": case["timeout_ms"] / 1000 if "timeout_ms" in case else None,
            "metadata": [(pair["name"], value_of(pair)) for pair in case.get("metadata", [])],
            "wait_for_ready": case.get("wait_for_ready", False),
            "compression": case.get("compression"),
            "response": None if self.is_json else Answer,
        }
        self.answers, self.sent = [], 0
        self.headers = self.trailers = ()
        self.stream = None

    def request(self, ask):
        ask = {name: value for name, value in ask.items() if name != "times"}
        return ask if self.is_json else ParseDict(ask, Ask())

    async def outcome(self):
        """The result, without what is not known of it."""
        began = time.monotonic()
        failure = {"code": 0}
        try:
            await self.call_and_cancel()
        except nebula.Error as error:
            self.trailers = error.metadata
            if self.stream is not None:
                with contextlib.suppress(nebula.Error):  # there were none
                    self.headers = await self.stream.headers()
            failure = {"code": int(error.code), "message": error.message}
            failure.update({} if error.fate is None else {"fate": str(error.fate), "fault": str(error.fault)})
        except asyncio.CancelledError:  # how asyncio says it, where a call is a coroutine
            failure = {"code": int(nebula.CANCELLED)}
        took_ms = (time.monotonic() - began) * 1000
        late = await self.send_late() if self.case.get("send_after_end") else {}
        shown = self.answers if len(self.answers) <= SHOWN_MAX else [self.answers[0], self.answers[-1]]
        return {
            **({} if "drop" in self.case else failure),
            **late,
            "answers": shown if self.is_json else [MessageToDict(answer) for answer in shown],
            "count": len(self.answers),
            "sent": self.sent,
            "headers": pairs_of(self.headers),
            "trailers": pairs_of(self.trailers),
            "took_ms": took_ms,
        }

    async def call_and_cancel(self):
        when, _, ms = self.case.get("cancel", "").partition(":")
        shape = {"Collect": self.unary, "Produce": self.produce, "Chat": self.chat}
        calling = asyncio.ensure_future(shape.get(self.case["method"], self.unary)())
        if when == "start":
            await asyncio.sleep(0)  # the call is made in the task's first step
            self.cancel(calling)
        elif when == "ms":
            asyncio.get_running_loop().call_later(int(ms) / 1000, self.cancel, calling)
        try:
            await calling
        finally:
            if when == "end":
                self.cancel(calling)

    def cancel(self, calling):
        """As users do: a stream has a method for it, else one cancels the task."""
        if self.stream is not None:
            self.stream.cancel()
        else:
            calling.cancel()

    async def unary(self):
        """Unary and Collect: one answer, with its metadata."""
        is_many = self.case["method"] == "Collect"
        request = self.requests() if is_many else self.asks[0]
        idempotent = self.case.get("idempotent", False)
        reply = await self.channel.exchange(self.path, request, idempotent=idempotent, **self.options)
        self.answers, self.headers, self.trailers = [reply.value], reply.headers, reply.trailers

    async def requests(self):
        for ask in self.asks:
            yield ask
            self.sent += 1
        if self.case.get("keep_open"):
            await asyncio.Event().wait()

    async def produce(self):
        self.stream = self.channel.stream(self.path, self.asks[0], **self.options)
        await self.read()

    async def chat(self):
        self.stream = self.channel.open(self.path, **self.options)
        # If the call ends meanwhile, reading says how.
        with contextlib.suppress(nebula.Error, EOFError):
            for ask in self.asks:
                await self.stream.send(ask)
                self.sent += 1
                if self.case.get("pingpong") and not await self.take_one():
                    return await self.ended()
            if not self.case.get("keep_open"):
                await self.stream.done_sending()
        await self.read()

    async def read(self):
        while await self.take_one():
            pass
        await self.ended()

    async def take_one(self):
        """False: there are no more. Raises how the call ended if it ended badly."""
        try:
            self.answers.append(await self.stream.receive())
        except EOFError:
            return False
        count = len(self.answers)
        if self.case.get("read") == count:
            await asyncio.sleep(self.case["pause_ms"] / 1000)
        if self.case.get("drop") == f"answers:{count}":
            self.stream = None
            return False
        if self.case.get("cancel") == f"answers:{count}":
            self.stream.cancel()
        return True

    async def ended(self):
        if self.stream is not None:
            self.headers, self.trailers = await self.stream.headers(), self.stream.trailers

    async def send_late(self):
        try:
            await self.stream.send(Ask())
        except (nebula.Error, EOFError, RuntimeError):
            return {"late": "error"}
        return {"late": "ignored"}


def value_of(pair):
    return base64.b64decode(pair["data"]) if "data" in pair else pair["text"]


def pairs_of(metadata):
    shown = []
    for name, value in metadata:
        if name.startswith("x-"):
            is_data = isinstance(value, bytes)
            shown.append({"name": name, **({"data": base64.b64encode(value).decode()} if is_data else {"text": value})})
    return shown


async def codes_of(channel, case):
    """The case many times: how often each code came."""
    codes = collections.Counter()
    left = iter(range(case["times"]))

    async def worker():
        for _ in left:
            codes[str((await Run(channel, case).outcome())["code"])] += 1

    await asyncio.gather(*(worker() for _ in range(case.get("at_once", 1))))
    return {"codes": dict(codes)}


async def recalled(channel, key):
    deadline = time.monotonic() + RECALL_S
    while True:
        record = await channel.call(SERVICE + "Recall", Key(key=key), timeout=RECALL_S)
        if record.state != "running" or time.monotonic() > deadline:
            return MessageToDict(record)
        await asyncio.sleep(0.01)


async def result_of(channel, case):
    """What came of a case; "broken" if this program could not do it."""
    try:
        run = codes_of(channel, case) if "times" in case else Run(channel, case).outcome()
        result = {"name": case["name"], **await run}
        if "recall" in case:
            result["record"] = await recalled(channel, case["recall"])
        return result
    except Exception as error:
        return {"name": case["name"], "broken": f"{type(error).__name__}: {error}"}

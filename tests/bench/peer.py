# bench/peer.py - what peer.cc does, in Python: a server with streams, and its clients.
#
# usage: peer.py serve | up <url> <count> <size> | down <url> <count> <size> | read <url> <size> <rate> <seconds>
import asyncio
import sys
import time
from typing import AsyncIterator

import nebula

app = nebula.Service("bench")


def say(*words):
    print(*words, flush=True)


def text(number, size):
    """A message that is so many bytes long as JSON, its number in front."""
    return f"{number:018}".ljust(size - 2)


def expect(message, number):
    if int(message) != number:
        raise SystemExit(f"message {int(message)} came when it was the turn of {number}")


@app.rpc
async def up(messages: AsyncIterator[str]) -> int:
    number = 0
    async for message in messages:
        expect(message, number)
        number += 1
    return number


@app.rpc
async def down(count: int, size: int) -> AsyncIterator[str]:
    for number in range(count):
        yield text(number, size)


async def send_up(service, count, size):
    async def numbered():
        for number in range(count):
            if number == count // 100:
                say("go")
            yield text(number, size)

    if (came := await service.up(numbered())) != count:
        raise SystemExit(f"{came} messages came of {count}")


async def read_down(service, count, size):
    number = 0
    async for message in service.down.stream(count=count, size=size):
        if number == count // 100:
            say("go")
        expect(message, number)
        number += 1
    if number != count:
        raise SystemExit(f"{number} messages came of {count}")


async def read_slowly(service, size, rate, seconds):
    number, due = 0, time.monotonic()
    end = due + seconds
    say("go")
    async for message in service.down.stream(count=1 << 50, size=size):
        expect(message, number)
        number += 1
        due += 1 / rate
        if due >= end:
            return number
        await asyncio.sleep(due - time.monotonic())


async def client(role, url, numbers):
    service = nebula.connect(url).service("bench")
    began = time.monotonic()
    taken = await {"up": send_up, "down": read_down, "read": read_slowly}[role](service, *numbers)
    say("done", time.monotonic() - began if taken is None else taken)


async def serve():
    async with nebula.serve(app, address="tcp://127.0.0.1:0") as server:
        say(*server.urls)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1] == "serve" else client(sys.argv[1], sys.argv[2], map(int, sys.argv[3:])))

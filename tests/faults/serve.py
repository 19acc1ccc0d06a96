# faults/serve.py - the service of the campaign in Python: tests/faults/README.md.
#
# usage: serve.py <name> <ledger> <address>    until SIGTERM; "delay <ms>" and "fail <share>" on standard input
import asyncio
import os
import random
import signal
import sys
import time
from typing import AsyncIterator

import nebula

TAIL_COUNT, TAIL_PAUSE_S = 25, 0.2

app = nebula.Service("faults")
name, ledger = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
orders = {"delay": 0.0, "fail": 0.0}


def note(key):
    """What the handler has begun is in the file when the process is killed the moment after."""
    os.write(ledger, f"{key} {time.time_ns() // 1000}\n".encode())


@app.rpc
async def work(key: str) -> str:
    note(key)
    if orders["delay"]:
        await asyncio.sleep(orders["delay"] / 1000)
    if random.random() < orders["fail"]:
        raise nebula.Error(nebula.UNAVAILABLE, "told to fail")
    return f"{name} {key}"


@app.rpc
async def tail(key: str) -> AsyncIterator[str]:
    note(key)
    for i in range(TAIL_COUNT):
        if i:
            await asyncio.sleep(TAIL_PAUSE_S)
        yield f"{name} {key} {i}"


def obey():
    line = sys.stdin.readline().split()
    if line:
        orders[line[0]] = float(line[1])
    else:
        asyncio.get_running_loop().remove_reader(0)


async def main():
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    async with nebula.serve(app, sys.argv[3], announce="faults"):
        loop.add_reader(0, obey)
        print("ready", flush=True)
        await stop.wait()


asyncio.run(main())

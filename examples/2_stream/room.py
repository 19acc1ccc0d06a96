# 2_stream/room.py - a service with a stream of answers, and one to talk with.
import asyncio
from typing import AsyncIterator

import nebula

app = nebula.Service("room")


@app.rpc
async def countdown(start: int = 3) -> AsyncIterator[int]:
    for number in range(start, 0, -1):
        yield number
        await asyncio.sleep(0.1)


@app.rpc
async def chat(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    async for line in lines:
        yield f"{line}? Tell me more."


app.run()

# 2_stream/guest.py - reads a stream of room, and talks with it.
import asyncio

import nebula


async def main() -> None:
    room = nebula.service("room", timeout=10)
    async for number in room.countdown.stream(start=3):
        print(number)

    async with room.chat.open() as chat:
        for line in ("Hello", "I am Ada"):
            await chat.send(line)
            print(await chat.receive())


asyncio.run(main())

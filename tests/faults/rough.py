# faults/rough.py - a proxy that treats each of its connections badly: bytes one by one, silence, RST, a slow close.
#
# usage: rough.py <address> <first port> <ports> <target>...    until standard input ends; a line there asks for a line
# that says how many connections there have been
#
# Each connection is carried until it has brought so many bytes of answers, or for so long, both drawn by chance. Then
# it comes to its end, which they take in turns.
import asyncio
import itertools
import random
import signal
import socket
import struct
import sys

BYTES = (100, 600)  # of answers; the peer's SETTINGS have come by then
LIFE_S = (0.3, 1.5)
SILENCE_S = 3  # of a connection whose peer is gone without a word
CLOSE_S = 0.5  # between the two ends of a slow close
DRIPPED = 300  # bytes that go one by one

ENDS = ("reset", "silence", "slow close")


class Carried:
    """One connection, and the one to a target in its place."""

    def __init__(self, reader, writer, target, end, is_dripping):
        self.reader, self.writer, self.target, self.end, self.is_dripping = reader, writer, target, end, is_dripping
        self.left = random.randint(*BYTES)

    async def carry(self):
        try:
            back, forth = await asyncio.open_connection(*self.target)
        except OSError:
            return reset(self.writer)
        for writer in (self.writer, forth):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pumps = [asyncio.ensure_future(self.pump(self.reader, forth, False)),
                 asyncio.ensure_future(self.pump(back, self.writer, True))]
        await asyncio.wait(pumps, timeout=random.uniform(*LIFE_S), return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        if self.end == "silence":
            await asyncio.sleep(SILENCE_S)
        if self.end == "slow close":
            self.writer.close()
            await asyncio.sleep(CLOSE_S)
            return forth.close()
        reset(self.writer)
        reset(forth)

    async def pump(self, reader, writer, counts):
        """Ends with the connection, and in the midst of an answer where `counts`."""
        while chunk := await reader.read(65536):
            if counts:
                chunk = chunk[:self.left]
                self.left -= len(chunk)
            drops = DRIPPED if self.is_dripping else 0
            for i in range(min(drops, len(chunk))):
                writer.write(chunk[i:i + 1])
                await asyncio.sleep(0)
            writer.write(chunk[drops:])
            await writer.drain()
            if counts and self.left <= 0:
                return


def reset(writer):
    """With what it has not sent: RST and no FIN."""
    if (own := writer.get_extra_info("socket")) is not None and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main(address, first, ports, targets):
    targets = itertools.cycle((host, int(port)) for host, port in (text.split(":") for text in targets))
    kinds = itertools.cycle(itertools.product(ENDS, (False, True)))
    count, running = itertools.count(1), set()
    seen = 0

    async def take(reader, writer):
        nonlocal seen
        seen = next(count)
        running.add(asyncio.current_task())
        try:
            await Carried(reader, writer, next(targets), *next(kinds)).carry()
        except OSError:
            reset(writer)
        finally:
            running.discard(asyncio.current_task())

    listening = [await asyncio.start_server(take, address, port) for port in range(first, first + ports)]
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(seen, flush=True)
    for listener in listening:
        listener.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))

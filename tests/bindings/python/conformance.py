# bindings/python/conformance.py - nebula.test.v1.Conformance in Python, served or called: tests/bindings/README.md.
#
# usage: conformance.py serve <url>...     until SIGTERM
#        conformance.py call <target>      a case a line, a result a line
#
# Needs conformance_pb2, which matrix.py makes, in PYTHONPATH.
import asyncio
import json
import signal
import sys

import called
import nebula
import served


async def serve(urls):
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with nebula.serve(served.app, *urls, announce=served.app.name) as server:
        served.reach(server.urls[0])
        print(*server.urls, flush=True)
        await stop.wait()


async def call(target):
    loop = asyncio.get_running_loop()
    async with nebula.connect(target) as channel:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            print(json.dumps(await called.result_of(channel, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[2:]) if sys.argv[1] == "serve" else call(sys.argv[2]))

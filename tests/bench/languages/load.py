#!/usr/bin/env python3
# bench/languages/load.py - Nebula and grpcio, each with asyncio and in plain code: serves, or loads.
#
# usage: load.py serve <library> | load <library> <host:port> <case> <seconds>
#        library: nebula-aio, grpc-aio, nebula-sync, grpc-sync
import asyncio
import concurrent.futures
import contextlib
import json
import os
import statistics
import sys
import threading
import time
from typing import AsyncIterator, Iterator

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import BytesValue, Int64Value

import nebula

IN_FLIGHT, STREAM = 64, 2_000
HANDLERS = min(32, (os.cpu_count() or 1) + 4)  # threads, as many as Nebula has for its own
MESSAGE = BytesValue(value=bytes(124))  # 128 bytes on the wire
UNARY, COUNT = "/bench.Load/Unary", "/bench.Load/Count"


def say(*words):
    print(*words, flush=True)


# ---- servers


def nebula_service(is_async):
    app = nebula.Service("bench.Load")
    if is_async:
        async def Unary(value: BytesValue) -> BytesValue:
            return value

        async def Count(until: Int64Value) -> AsyncIterator[Int64Value]:
            for number in range(until.value):
                yield Int64Value(value=number)
    else:
        def Unary(value: BytesValue) -> BytesValue:
            return value

        def Count(until: Int64Value) -> Iterator[Int64Value]:
            for number in range(until.value):
                yield Int64Value(value=number)
    app.rpc(Unary)
    app.rpc(Count)
    return app


def grpc_handlers(unary, count):
    return grpc.method_handlers_generic_handler("bench.Load", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, BytesValue.FromString, BytesValue.SerializeToString),
        "Count": grpc.unary_stream_rpc_method_handler(count, Int64Value.FromString, Int64Value.SerializeToString),
    })


async def serve_aio(library):
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if library != "grpc-aio":
        async with nebula.serve(nebula_service(library == "nebula-aio"), address="tcp://127.0.0.1:0") as server:
            say(server.urls[0].removeprefix("tcp://"))
            await ended
        return

    async def unary(value, _context):
        return value

    async def count(until, _context):
        for number in range(until.value):
            yield Int64Value(value=number)

    server = grpc.aio.server(maximum_concurrent_rpcs=None)
    server.add_generic_rpc_handlers([grpc_handlers(unary, count)])
    say(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    await server.start()
    await ended
    await server.stop(None)


def serve_sync():
    def count(until, _context):
        for number in range(until.value):
            yield Int64Value(value=number)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(HANDLERS))
    server.add_generic_rpc_handlers([grpc_handlers(lambda value, _context: value, count)])
    say(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
    server.start()
    sys.stdin.read()
    server.stop(None)


# ---- loads: each gives a function that makes one call, or reads one stream, and answers how many messages came


@contextlib.asynccontextmanager
async def callers_aio(library, address):
    if library == "nebula-aio":
        async with nebula.connect(f"tcp://{address}") as channel:
            async def unary():
                await channel.call(UNARY, MESSAGE, response=BytesValue)

            async def stream():
                async for _ in channel.stream(COUNT, Int64Value(value=STREAM), response=Int64Value):
                    pass

            yield unary, stream
        return
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(UNARY, BytesValue.SerializeToString, BytesValue.FromString)
        read = channel.unary_stream(COUNT, Int64Value.SerializeToString, Int64Value.FromString)

        async def unary():
            await call(MESSAGE)

        async def stream():
            async for _ in read(Int64Value(value=STREAM)):
                pass

        yield unary, stream


@contextlib.contextmanager
def callers_sync(library, address):
    if library == "nebula-sync":
        with nebula.connect(f"tcp://{address}") as channel:
            def unary():
                channel.call(UNARY, MESSAGE, response=BytesValue)

            def stream():
                for _ in channel.stream(COUNT, Int64Value(value=STREAM), response=Int64Value):
                    pass

            yield unary, stream
        return
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(UNARY, BytesValue.SerializeToString, BytesValue.FromString)
        read = channel.unary_stream(COUNT, Int64Value.SerializeToString, Int64Value.FromString)

        def unary():
            call(MESSAGE)

        def stream():
            for _ in read(Int64Value(value=STREAM)):
                pass

        yield unary, stream


class Watch:
    """Counts what was done after the warm-up, until the time is over."""

    def __init__(self, seconds):
        self.begins = time.perf_counter() + seconds / 3
        self.ends = self.begins + seconds * 2 / 3
        self.took, self.has_begun, self.lock = [], False, threading.Lock()

    def goes_on(self, began, now):
        if now >= self.begins:
            with self.lock:
                if not self.has_begun:
                    self.has_begun = True
                    self.begins = now
                    say("begin")
                elif began >= self.begins:
                    self.took.append(now - began)
        return now < self.ends

    def tell(self, each):
        seconds = time.perf_counter() - self.begins
        say(json.dumps({"count": len(self.took) * each, "seconds": seconds, "p50_us": statistics.median(self.took) * 1e6}))


async def load_aio(library, address, case, seconds):
    watch = Watch(seconds)
    async with callers_aio(library, address) as (unary, stream):
        call = stream if case == "stream" else unary

        async def work():
            began, goes_on = time.perf_counter(), True
            while goes_on:
                await call()
                now = time.perf_counter()
                goes_on, began = watch.goes_on(began, now), now

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT if case == "unary64" else 1)))
        watch.tell(STREAM if case == "stream" else 1)


def load_sync(library, address, case, seconds):
    watch = Watch(seconds)
    with callers_sync(library, address) as (unary, stream):
        call = stream if case == "stream" else unary

        def work():
            began, goes_on = time.perf_counter(), True
            while goes_on:
                call()
                now = time.perf_counter()
                goes_on, began = watch.goes_on(began, now), now

        threads = [threading.Thread(target=work) for _ in range(IN_FLIGHT if case == "unary64" else 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        watch.tell(STREAM if case == "stream" else 1)


def main(role, library, *words):
    if role == "serve":
        return serve_sync() if library == "grpc-sync" else asyncio.run(serve_aio(library))
    address, case, seconds = words
    if library.endswith("aio"):
        return asyncio.run(load_aio(library, address, case, float(seconds)))
    return load_sync(library, address, case, float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])

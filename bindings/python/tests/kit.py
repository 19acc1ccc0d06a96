"""What tests of the Python binding share: a registry of their own, programs to start, servers to call."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time

# The installed package is tested. The sources beside these tests have no native module, and `python -m pytest` run
# there would find them first.
sys.path[:] = [
    path
    for path in sys.path
    if not pathlib.Path(path or ".", "nebula", "_nebula.pyi").exists() or "site-packages" in path
]

# Before the engine is made. Short, since a Unix socket's path must fit into 107 bytes.
REGISTRY = tempfile.mkdtemp(prefix="neb-", dir="/tmp")
os.environ["NEBULA_REGISTRY"] = f"host:?dir={REGISTRY}"
atexit.register(shutil.rmtree, REGISTRY, ignore_errors=True)

import nebula  # noqa: E402

# Nothing here takes that long; a test that waits for it has failed. Over ASan all takes three times as long.
PATIENCE = 60.0 if "libasan" in os.environ.get("LD_PRELOAD", "") else 20.0


class Background:
    """Services on an event loop in another thread, so that the test's thread can call them synchronously."""

    def __init__(self, *services, **options):
        self.services, self.options = services, options
        self.ready = threading.Event()
        self.failure = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with nebula.serve(*self.services, **self.options) as self.server:
                self.ready.set()
                await self.stop.wait()
        except BaseException as error:
            self.failure = error
            self.ready.set()
            raise

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(PATIENCE)
        if self.failure is not None:
            raise self.failure
        return self.server

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()


class Program:
    """A Python program of its own, killed at the end of the test with all that it has started."""

    def __init__(self, source, *args, env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(source), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            cwd=tempfile.gettempdir(),  # not where the sources are
            start_new_session=True,
        )
        self.pid = self.process.pid

    def line(self):
        """The next line that it prints."""
        out = bytearray()
        end = time.monotonic() + PATIENCE
        while not out.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            assert readable, f"no line within {PATIENCE} s, only {bytes(out)!r}"
            byte = os.read(self.process.stdout.fileno(), 1)
            if not byte:
                raise EOFError(f"{bytes(out)!r}, then: {self.process.stderr.read().decode()}")
            out += byte
        return out.decode().rstrip("\n")

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        """(exit code, the rest of stdout, stderr)"""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode(), err.decode()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(self.pid, signal.SIGKILL)
        self.process.communicate()


def message_classes(proto, grpc=False):
    """The classes that protoc makes of a .proto file: (messages, stubs)."""
    from grpc_tools import protoc

    proto = pathlib.Path(proto)
    with tempfile.TemporaryDirectory(prefix="neb-proto-") as out:
        options = [f"-I{proto.parent}", f"--python_out={out}"] + ([f"--grpc_python_out={out}"] if grpc else [])
        assert protoc.main(["protoc", *options, str(proto)]) == 0
        sys.path.insert(0, out)
        try:
            messages = importlib.import_module(f"{proto.stem}_pb2")
            return messages, importlib.import_module(f"{proto.stem}_pb2_grpc") if grpc else None
        finally:
            sys.path.remove(out)


def aio(main):
    """Runs an async test, with patience."""

    async def bounded():
        return await asyncio.wait_for(main(), PATIENCE)

    return asyncio.run(bounded())


def eventually(condition):
    """Waits for what no event tells of."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)

"""The package is typed, and its types say what it does."""

import pathlib
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("mypy")

PACKAGE = pathlib.Path(__file__).parents[1]

PROGRAM = """
    import asyncio
    from typing import AsyncIterator, Iterator

    import nebula

    app = nebula.Service("hello")

    @app.rpc
    def greet(name: str = "world") -> str:
        return f"Hello {name}!"

    @app.rpc(name="later")
    async def greet_later(name: str, ctx: nebula.Context) -> str:
        ctx.set_trailing_metadata({"served-by": ctx.peer})
        left = ctx.time_remaining()
        if left is not None and left < 0.1:
            raise nebula.Error(nebula.DEADLINE_EXCEEDED, "too late")
        return greet(name)

    @app.rpc
    async def double(numbers: AsyncIterator[int], ctx: nebula.Context) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    @app.rpc
    def count(to: int) -> Iterator[int]:
        yield from range(to)

    async def talk(service: nebula.ServiceClient) -> None:
        stream: nebula.AsyncStream
        async with service.double.open() as stream:
            await stream.send(1)
            await stream.done_sending()
            async for number in stream:
                print(number, stream.trailers.get("served-by", ""))
        try:
            await service.double(iter([1]))
        except nebula.Error as error:
            if error.fate is nebula.Fate.UNSENT or error.fault is nebula.Fault.OVERLOAD:
                with nebula.detached():
                    print([number async for number in service.count.stream(to=3)])

    async def main() -> None:
        async with nebula.serve(app, address="tcp://127.0.0.1:0") as server:
            async with nebula.connect(server.urls[0]) as channel:
                print(await channel.service("hello", timeout=0.5).greet(name="Ada"))
                reply: nebula.Reply = await channel.exchange("/hello/greet", {"name": "Ada"})
                print(reply.trailers.get("served-by", ""))

    text: str = greet("Ada")
    asyncio.run(main())
"""


def mypy(*args):
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *args], cwd=PACKAGE, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_passes_mypy_strict(tmp_path):
    mypy("--cache-dir", str(tmp_path), "nebula")


def test_a_typed_program_passes_mypy_strict(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    mypy("--cache-dir", str(tmp_path), str(tmp_path / "program.py"))

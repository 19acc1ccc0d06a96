"""A program that is a service: banner, signals, and an orderly end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterable
from types import FrameType
from typing import TYPE_CHECKING, Optional, Union

from nebula.options import ServeOptions
from nebula.server import Server, serve
from nebula.services import Service

if TYPE_CHECKING:
    from typing_extensions import Unpack


def run(
    *services: Union[Service, str],
    address: Union[str, Iterable[str], None] = None,
    **options: Unpack[ServeOptions],
) -> None:
    """Serves until SIGINT or SIGTERM. Then withdraws, lets running calls end, and returns; a second signal ends the
    process at once. Only the main thread hears signals.

    Arguments as for nebula.serve. Prints one line per service when all can be called.
    """
    asyncio.run(
        _serve_until_signalled(
            serve(*services, address=address, **options),
            announced=address is None and not any(isinstance(text, str) for text in services),
        )
    )


async def _serve_until_signalled(server: Server, announced: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int, frame: Optional[FrameType]) -> None:
        # A plain handler, not the loop's: it is heard while a handler computes, too.
        if stopping.is_set():
            server.close()
            os._exit(128 + number)
        stopping.set()
        loop.call_soon_threadsafe(stop.set)

    stopping = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)} if main else {}
    try:
        async with server:
            _say_ready(server, announced)
            await stop.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_ready(server: Server, announced: bool) -> None:
    """One line per service, and one that can be pasted into a Python with `import nebula`."""
    urls = "   ".join(sorted(server.urls, key=lambda url: not url.startswith("tcp:")))
    lines = [f"{service.name}  (python)  ready   {urls}" for service in server.services]
    examples = (method.example() for service in server.services for method in service.methods.values())
    example = next((text for text in examples if text is not None), None)
    if example is not None and announced:
        lines.append(f"  call   {example}")
    try:
        print("\n".join(lines), flush=True)
    except OSError:
        pass  # nobody reads; that is no reason not to serve

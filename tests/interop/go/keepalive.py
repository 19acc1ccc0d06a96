# interop/go/keepalive.py - does a handler that computes for 15 s cost a grpc-go client its connection?
#
# usage: tests/interop/go/keepalive.py        with the Python that has nebula, build/venv/bin/python
#
# The client pings after 10 s of silence and waits 1 s for the answer; the handler is Python that holds its event loop
# and nearly always the GIL. With the housekeeper the call must end well. Without it (NEBULA_HOUSEKEEPER=off) it must
# not, or this test would show nothing. Both at the same time; prints a line for each, and last
# "interop: N passed, 0 failed".
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

from programs import GO_BIN

CLIENT = GO_BIN / "keepalive"
COMPUTES_S = 15
CASES = {"on": "computed", "off": "keepalive ping failed"}  # what the client says then

SERVER = f"""
import asyncio, time
import nebula

slow = nebula.Service("slow")

@slow.rpc
async def compute() -> str:
    end = time.monotonic() + {COMPUTES_S}
    while time.monotonic() < end:
        sum(i * i for i in range(10_000))
    return "computed"

async def main():
    async with nebula.serve(slow, address="tcp://127.0.0.1:0") as server:
        print(server.urls[0].removeprefix("tcp://"), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def install_client():
    """None, or why there is none."""
    if shutil.which("go") is None:
        return "there is no go command"
    made = subprocess.run(["go", "build", "-o", CLIENT, "."], cwd=pathlib.Path(__file__).with_name("keepalive"),
                          capture_output=True, text=True)
    return None if made.returncode == 0 else f"go build: {made.stderr.strip().splitlines()[-1]}"


@contextlib.contextmanager
def serving(housekeeper):
    env = {**os.environ, "NEBULA_HOUSEKEEPER": housekeeper}
    server = subprocess.Popen([sys.executable, "-c", SERVER], env=env, stdout=subprocess.PIPE, text=True)
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def main():
    trouble = install_client()
    if trouble:
        print(f"keepalive with grpc-go skipped: {trouble}")
        return 1 if os.environ.get("CI") else 0
    passed = 0
    with contextlib.ExitStack() as servers:
        began = time.monotonic()
        calls = {housekeeper: subprocess.Popen([CLIENT, servers.enter_context(serving(housekeeper)), "/slow/compute"],
                                               stdout=subprocess.PIPE, text=True) for housekeeper in CASES}
        for housekeeper, call in sorted(calls.items()):  # "off" ends first
            said = call.communicate(timeout=60)[0].strip()
            took = time.monotonic() - began
            good = CASES[housekeeper] in said
            passed += good
            print(f"housekeeper {housekeeper:<4} after {took:4.1f} s: {said}{'' if good else '   FAILED'}", flush=True)
    print(f"interop: {passed} passed, {len(CASES) - passed} failed")
    return 0 if passed == len(CASES) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# tests/bindings/endurance.py - very many calls of each language, after which neither side may have grown.
#
# usage: tests/bindings/endurance.py [--languages go,node] [--calls 1000000]
#
# --calls: of each language; none: ENDURANCE_CALLS of the environment, else 30,000. Each language calls itself, in two
# processes: calls that go well, fail, pass their deadline and are cancelled, of every shape. They come in rounds, the
# first of which warms both up. Resident memory may grow by a little for each call of the later rounds, beyond what a
# collected heap breathes by; open files and threads may not. Prints a line for each process, and last
# "endurance: N passed, N failed".
import argparse
import os
import pathlib
import sys
import tempfile
import time

import programs

ROUNDS = 5
AT_ONCE = 50
ROUND_S = 600
SETTLE_S = 10  # within which what has ended is let go of

BREATH_BYTES = 12 << 20
GROWTH_BYTES_PER_CALL = 16  # fewer than the smallest thing that one could forget for each call: an entry of a table
FILES_MAX = 8  # more than after the first round; a connection may come late
THREADS_MAX = AT_ONCE  # likewise: as many calls as there are may meet in handlers only later

# A heap that is there from the start, so that it does not grow, and that one thing forgotten of each call would fill. Java's
# second compiler takes tens of MiB whenever it finds something to do, which may be late: only the first one is there.
ENVIRONMENT = {
    "JAVA_TOOL_OPTIONS": "-Xms64m -Xmx64m -XX:+AlwaysPreTouch -XX:+UseSerialGC -XX:TieredStopAtLevel=1",
    "NODE_OPTIONS": "--max-old-space-size=48 --max-semi-space-size=2",
}

# Shares of a round in percent, and the codes that may come. No key: the server would remember the calls. Those that end
# early live for longer than limits::early_reset, for a client with many shorter ones is taken for an attacker.
MIX = (
    (44, {"0"}, {"method": "Unary", "asks": [{"text": "Ada"}], "metadata": [{"name": "x-a", "text": "1"}]}),
    (10, {"0"}, {"method": "Unary", "codec": "json", "asks": [{"text": "Ada"}]}),
    (10, {"5"}, {"method": "Unary", "asks": [{"status": 5, "trailers": [{"name": "x-a", "text": "1"}]}]}),
    (4, {"0"}, {"method": "Unary", "asks": [{"text": "Ada " * 500}], "compression": "gzip"}),
    (4, {"0"}, {"method": "Unary", "asks": [{"relay": {"text": "Ada"}}], "timeout_ms": 60000}),
    (6, {"0"}, {"method": "Collect", "asks": [{"text": "a", "times": 3}]}),
    (6, {"0"}, {"method": "Produce", "asks": [{"answers": 3}]}),
    (6, {"0"}, {"method": "Chat", "asks": [{"text": "a", "times": 2}], "pingpong": True}),
    (3, {"1"}, {"method": "Chat", "asks": [{"text": "a"}], "keep_open": True, "pingpong": True, "cancel": "ms:20"}),
    (3, {"1"}, {"method": "Unary", "asks": [{"delayMs": 60000}], "cancel": "ms:20"}),
    (4, {"4"}, {"method": "Unary", "asks": [{"delayMs": 60000}], "timeout_ms": 20}),
)


NO_JSON = ("c", "c++")  # their servers take protobuf alone, and say so


class Footprint:
    """What a process takes up: resident bytes, open files, threads."""

    def __init__(self, process):
        folder = pathlib.Path(f"/proc/{process.pid}")
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        self.bytes = int(fields["VmRSS"].split()[0]) << 10
        self.threads = int(fields["Threads"])
        self.files = len(os.listdir(folder / "fd"))

    def growth(self, before, calls):
        """What is more than it may be since, as a text; None: nothing."""
        if self.bytes - before.bytes > BREATH_BYTES + calls * GROWTH_BYTES_PER_CALL:
            return f"{self.bytes - before.bytes:,} bytes more after {calls:,} calls"
        if self.files - before.files > FILES_MAX:
            return f"{self.files} open files, of {before.files}"
        if self.threads - before.threads > THREADS_MAX:
            return f"{self.threads} threads, of {before.threads}"
        return None

    def __str__(self):
        return f"{self.bytes / (1 << 20):7.1f} MiB {self.files:4} files {self.threads:4} threads"


def run_round(client, language, calls):
    """So many calls of the mix. Raises Broken if one ended otherwise than it should."""
    for share, codes, case in MIX:
        times = calls * share // 100
        if language in NO_JSON:
            case = {name: value for name, value in case.items() if name != "codec"}
        case = {**case, "name": case["method"], "times": times, "at_once": AT_ONCE}
        deadline = time.monotonic() + ROUND_S
        client.begin(case, deadline)
        came = client.result(case, deadline)["codes"]
        if set(came) - codes or sum(came.values()) != times:
            raise programs.Broken(f"{times} calls that end with {' or '.join(codes)} ended with {came}: {case}")


def settled(process, before, calls):
    """The footprint as soon as it has not grown, at the latest when it has had its time."""
    deadline = time.monotonic() + SETTLE_S
    while (now := Footprint(process)).growth(before, calls) and time.monotonic() < deadline:
        time.sleep(0.1)
    return now


def endure(language, calls, folder):
    """Prints what became of both processes, and returns how many have grown."""
    server = programs.Server(language, "tcp://127.0.0.1:0", folder)
    try:
        client = programs.Client(language, server.target, folder, "endurance")
        try:
            return compare({"client": client, "server": server}, language, client, calls // ROUNDS)
        finally:
            client.kill()
    finally:
        server.kill()


def compare(both, language, client, calls):
    began = time.monotonic()
    run_round(client, language, calls)
    before = {side: Footprint(program.process) for side, program in both.items()}
    for _ in range(ROUNDS - 1):
        run_round(client, language, calls)
    failed = 0
    for side, program in both.items():
        later_calls = calls * (ROUNDS - 1)
        after = settled(program.process, before[side], later_calls)
        trouble = after.growth(before[side], later_calls)
        failed += trouble is not None
        print(f"{language:<7} {side}  {before[side]}  ->  {after}   {trouble or 'ok'}", flush=True)
    print(f"{language:<7} {calls * ROUNDS / (time.monotonic() - began):,.0f} calls a second", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--languages", type=lambda text: text.split(","), default=[])
    parser.add_argument("--calls", type=int, default=int(os.environ.get("ENDURANCE_CALLS", "30000")))
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    passed = failed = 0
    programs.compile_messages()
    for language in given.languages or programs.COMMANDS:
        if file := programs.missing(language):
            print(f"note: {language} skipped: there is no {file}; `make matrix-programs` makes it", flush=True)
            failed += bool(given.languages or os.environ.get("CI"))
            continue
        with tempfile.TemporaryDirectory(prefix="nebula-endurance-") as folder:
            try:
                grown = endure(language, given.calls, pathlib.Path(folder))
            except programs.Broken as broken:
                print(f"{language:<7} {broken}", flush=True)
                grown = 2
        failed += grown
        passed += 2 - grown
    print(f"endurance: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

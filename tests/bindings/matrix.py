#!/usr/bin/env python3
# tests/bindings/matrix.py - every language calls every language: the cases of cases.json, over tcp and unix.
#
# usage: tests/bindings/matrix.py [--clients python,c] [--servers c++] [--cases text] [--jobs 4] [--verbose]
#
# none given: all languages, all cases. --cases: those whose names have one of these texts in them; "stage" stands for
# the scenarios, in which servers come and go. --jobs: so many clients at a time. --verbose: a line for each case.
#
# Each pair is two processes, a server serves all clients. Prints what went wrong, the table of clients and servers with
# what passed, what does not apply and why, and last "matrix: N passed, N failed". Each case counts once for each pair
# and transport. A program that is missing is a failure where CI is set or its language was asked for, else a line that
# says so.
import argparse
import collections
import concurrent.futures
import contextlib
import os
import pathlib
import sys
import tempfile
import threading
import time

import cases
import programs
import scenarios

TRANSPORTS = ("tcp", "unix")
WATCHER = "python"
STAGE = "stage"


def say(line):
    """A line in one piece, whichever thread it comes from."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Table:
    """What came of the cases, for each pair. Counted by any thread."""

    def __init__(self, verbose):
        self.verbose = verbose
        self.lock = threading.Lock()
        self.passed, self.failed = collections.Counter(), collections.Counter()
        self.reasons = collections.defaultdict(set)  # why cases do not apply: which, to which pairs

    def count(self, pair, what, trouble, seconds=0.0):
        with self.lock:
            (self.failed if trouble else self.passed)[pair] += 1
        if trouble:
            say(f"FAILED  {'->'.join(pair)}  {what}: {trouble}")
        elif self.verbose:
            say(f"ok      {'->'.join(pair)}  {what}  {seconds * 1000:.0f} ms")

    def leave_out(self, pair, case, reason):
        with self.lock:
            self.reasons[reason].add((case["name"], pair))

    def show(self, clients, servers):
        width = max(map(len, clients)) + 2
        print(f"\n{'client':<{width}}" + "".join(f"{'-> ' + server:<26}" for server in servers))
        for client in clients:
            cells = (self._cell((client, server)) for server in servers)
            print(f"{client:<{width}}" + "".join(f"{cell:<26}" for cell in cells))
        if self.reasons:
            print("\nnot for all:")
        for reason, left_out in sorted(self.reasons.items()):
            pairs, names = {"->".join(pair) for _, pair in left_out}, {name for name, _ in left_out}
            print(f"  {reason} ({', '.join(sorted(pairs))}): {', '.join(sorted(names))}")

    def _cell(self, pair):
        left_out = sum(pair == other for cases_left in self.reasons.values() for _, other in cases_left)
        words = [f"{self.passed[pair]} ok"]
        words += [f"{self.failed[pair]} FAILED"] if self.failed[pair] else []
        words += [f"{left_out} not"] if left_out else []
        return ", ".join(words)


def run_cases(table, pair, transport, target, chosen, folder):
    """All cases of a pair. A client that fails as a program is replaced, and the next case goes on."""
    client = None
    try:
        for case in chosen:
            if reason := cases.reason_against(case, *pair):
                table.leave_out(pair, case, reason)
                continue
            began = time.monotonic()
            try:
                client = client or programs.Client(pair[0], target, folder, f"{pair[1]}-{transport}")
                handed_out = cases.handed_out(case, f"{pair[0]}/{transport}")
                trouble = "; ".join(cases.differences(case, client.run(handed_out)))
            except programs.Broken as broken:
                trouble = str(broken)
                if client is not None:
                    client.kill()
                client = None
            table.count(pair, f"{transport}: {case['name']}", trouble, time.monotonic() - began)
        if client is not None:
            client.close()
    except programs.Broken as broken:
        table.count(pair, f"{transport}: the end of the client", str(broken))
    finally:
        if client is not None:
            client.kill()


def run_stage(table, pair, folder):
    for name, trouble in scenarios.run(*pair, folder, WATCHER).items():
        table.count(pair, f"{STAGE}/{name}", trouble)


def start_servers(table, languages, folder, stack):
    """Targets by language and transport; a server that does not start is a failure."""
    targets = {}
    for language in languages:
        for transport, url in zip(TRANSPORTS, ("tcp://127.0.0.1:0", f"unix:{folder}/{language}.sock")):
            try:
                server = programs.Server(language, url, folder)
                stack.callback(stop, table, language, server)
                targets[language, transport] = server.target
            except programs.Broken as broken:
                table.count((language, language), f"{transport}: its server", str(broken))
    return targets


def stop(table, language, server):
    try:
        server.terminate()
        server.end()
    except programs.Broken as broken:
        table.count((language, language), "the end of a server", str(broken))
    finally:
        server.kill()


def chosen_languages(asked, table):
    """Of those asked for, or all, the ones whose programs are there."""
    there = []
    for language in asked or programs.COMMANDS:
        if file := programs.missing(language):
            say(f"note: {language} skipped: there is no {file}; `make matrix-programs` makes it")
            if asked or os.environ.get("CI"):
                table.count((language, language), "its program", "is missing")
        else:
            there.append(language)
    return there


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("--clients", "--servers", "--cases"):
        parser.add_argument(name, type=lambda text: text.split(","), default=[])
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--verbose", action="store_true")
    given = parser.parse_args()
    if unknown := {*given.clients, *given.servers} - set(programs.COMMANDS):
        parser.error(f"no language {', '.join(sorted(unknown))}; there are: {', '.join(programs.COMMANDS)}")
    return given


def main():
    given = arguments()
    chosen = [case for case in cases.load() if not given.cases or any(part in case["name"] for part in given.cases)]
    with_stage = not given.cases or STAGE in given.cases
    if not chosen and not with_stage:
        print(f"no case has {' or '.join(given.cases)} in its name", file=sys.stderr)
        return 2
    table = Table(given.verbose)
    clients, servers = chosen_languages(given.clients, table), chosen_languages(given.servers, table)
    programs.compile_messages()
    with tempfile.TemporaryDirectory(prefix="nebula-matrix-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        targets = start_servers(table, servers, folder, stack)
        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            work = []
            for pair in ((client, server) for server in servers for client in clients):
                for transport in TRANSPORTS:
                    if target := targets.get((pair[1], transport)):
                        work.append(pool.submit(run_cases, table, pair, transport, target, chosen, folder))
                if with_stage:
                    work.append(pool.submit(run_stage, table, pair, folder))
            for done in work:
                done.result()
    if clients and servers:
        table.show(clients, servers)
    passed, failed = sum(table.passed.values()), sum(table.failed.values())
    print(f"matrix: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())

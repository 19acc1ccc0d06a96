#!/usr/bin/env python3
# bench/counts.py - what a request costs in counts, which do not move with the machine's load, against a baseline.
#
# usage: tests/bench/counts.py [pattern]               counts; returns 1 when a figure is worse than its baseline
#        tests/bench/counts.py --accept [pattern]      makes what was counted the baseline
#        tests/bench/counts.py --annotate [pattern]    says, too, in which functions the instructions are
#        pattern: only cases whose names have it
#
# Instructions of user space, by callgrind, and system calls of the thread that polls. The program is nebula_peer, as a
# user's would be; its other end is a script (batches.py), so that a batch always arrives whole and no count depends on
# time. Instructions are (long run - short run) / requests between them, so starting and connecting are not in it;
# system calls are those of the same batches, but for batches in which a timer fired. Not counted are those that are
# none outside of valgrind, which knows no vDSO, and those of the housekeeper's thread, as it ticks with the clock: its
# instructions are too few to show.
#
# The baseline, counts.json, has the figures of each architecture, and what they were made with: a compiler or a library
# of another version may well give others. Profiles lie in build/counts.
import argparse
import collections
import concurrent.futures
import json
import pathlib
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import batches

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/release/tests/bench_nebula_peer"
BASELINE = ROOT / "tests/bench/counts.json"
OUT = ROOT / "build/counts"
SLACK = 0.03
METRICS = {"instructions": ("instructions", 0), "system_calls": ("system calls", 4)}  # words, digits after the point
NO_SYSTEM_CALLS = {"clock_gettime", "gettimeofday", "time", "getcpu"}
# glibc chooses its memcpy by the processor at hand: let it be the same one on all of x86-64.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM"}
# Of the first thread, as valgrind traces it: name, arguments, result. One that may take its time has two lines.
SYSTEM_CALL = r"SYSCALL\[\d+,1\]\(\d+\) (?:sys_(\w+) ?\(([^)]*)\))?.*?--> (?:Success\((0x\w+)\))?"
PATIENCE_S = 120
TRIES_MAX = 6

# shape, messages in a batch, batches of the short and of the long run
LOADS = {
    "unary_20B_1x100": ("unary", 100, 10, 60),
    "unary_20B_1x1": ("unary", 1, 100, 700),
    "stream_20B": ("stream", 100, 20, 120),
}
CASES = {f"{side}_{name}": (side, *load) for side in ("server", "client") for name, load in LOADS.items()}


class Valgrind:
    """The program under callgrind, and what valgrind says of its first thread's system calls."""

    def __init__(self, name, *arguments):
        self.profile, self.log = OUT / f"{name}.callgrind", OUT / f"{name}.log"
        self.log.write_text("")
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.profile}", "--trace-syscalls=yes",
             f"--log-file={self.log}", PROGRAM, *map(str, arguments)],
            env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        self.trace, self.unread = self.log.open(errors="replace"), ""
        self.timer, self.is_asleep = None, False
        self.calls, self.is_timed = 0, False
        self.batches = []  # system calls of each; None: a timer fired
        self.watch = threading.Timer(PATIENCE_S, self.process.kill)
        self.watch.start()

    def settle(self):
        """Returns when the first thread waits for something to happen, which ends a batch."""
        while not self.is_asleep or self.unread:
            *lines, self.unread = (self.unread + self.trace.read()).split("\n")
            for line in lines:
                if call := re.match(SYSTEM_CALL, line):
                    self.take(*call.groups())
            if self.process.poll() is not None:
                raise RuntimeError(f"it ended with {self.process.returncode}, see {self.log}")
            time.sleep(0.0002)
        self.batches.append(None if self.is_timed else self.calls)
        self.calls, self.is_timed, self.is_asleep = 0, False, False

    def take(self, name, arguments, result):
        """A system call; without a name the result of the last one, which took its time."""
        words = [word.strip() for word in (arguments or "").split(",")]
        if name == "timerfd_create":
            self.timer = str(int(result, 16))
        self.is_timed |= name == "read" and words[0] == self.timer
        self.is_asleep = name in ("epoll_wait", "epoll_pwait") and words[3] != "0"
        self.calls += name is not None and name not in NO_SYSTEM_CALLS

    def end(self):
        """Has valgrind write its figures, unless it has ended."""
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.process.stdout.close()
        self.trace.close()
        self.watch.cancel()

    def counts(self):
        """Instructions in all, and the system calls of each batch. None when another thread has driven the loop: the
        housekeeper does, when valgrind is so slow on a loaded machine that the poller seems to be stuck."""
        text = self.log.read_text(errors="replace")
        total = re.search(r"Collected : (\d+)", text)
        if total is None:
            raise RuntimeError(f"no figures in {self.log}: {text[-400:]}")
        waits = re.findall(r"^SYSCALL\[\d+,(\d+)\]\(\d+\) sys_epoll_p?wait \( (\d+),", text, re.M)
        loops = {descriptor for thread, descriptor in waits if thread == "1"}
        if any(thread != "1" and descriptor in loops for thread, descriptor in waits):
            return None
        return int(total.group(1)), self.batches


def run_server(name, shape, count, length):
    with Valgrind(name, "serve", "tcp://127.0.0.1:0") as server:
        host, port = server.process.stdout.readline().strip().removeprefix("tcp://").split(":")
        with batches.asked((host, int(port)), shape, count, length, server.settle):
            server.end()
    return server.counts()


def run_client(name, shape, count, length):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with Valgrind(name, "load", url, shape, 20, 1, count, count * length, "answers") as client:
            batches.answer(listener, shape, count, length, client.settle)
            if client.process.wait() != 0:
                raise RuntimeError(f"the client ended with {client.process.returncode}")
    return client.counts()


def undisturbed(name, length):
    side, shape, count, *_ = CASES[name]
    for _ in range(TRIES_MAX):
        if counts := {"server": run_server, "client": run_client}[side](name, shape, count, length):
            return counts
    raise RuntimeError(f"{name}: the machine is too busy to count: the housekeeper stepped in {TRIES_MAX} times")


def figures(name):
    """Of a case: each metric for one request, or one message of a stream each way."""
    _, _, count, short, long = CASES[name]
    (few, _), (many, batches_of_many) = undisturbed(name, short), undisturbed(name, long)
    calls = [calls for calls in batches_of_many[short:] if calls is not None]
    if len(calls) * 2 < long - short:
        raise RuntimeError(f"{name}: a timer fires in most batches")
    return {"instructions": round((many - few) / (count * (long - short))),
            "system_calls": round(statistics.mean(calls) / count, 4)}


def annotate(name):
    """Prints which functions have nine tenths of the long run's instructions, and how often a system call was made."""
    profile = subprocess.run(["callgrind_annotate", "--threshold=90", OUT / f"{name}.callgrind"], check=True,
                             stdout=subprocess.PIPE, text=True).stdout
    print(f"---- {name}, the long run\n{profile[profile.index('Ir'):].rstrip()}")
    trace = (OUT / f"{name}.log").read_text(errors="replace")
    calls = collections.Counter(call[0] for call in re.findall(SYSTEM_CALL, trace) if call[0])
    print("".join(f"{count:>12,} {call}\n" for call, count in calls.most_common(12)))


def made_with():
    def said(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    modules = ("libnghttp2", "libuv", "libprotobuf-c")
    return {"compiler": said("cc", "-dumpfullversion"), "libc": " ".join(platform.libc_ver()),
            **{module: said("pkg-config", "--modversion", module) for module in modules}}


def compare(found, baseline):
    """Prints each figure beside its baseline; whether none is worse."""
    worse = False
    for name, values in found.items():
        for metric, (words, digits) in METRICS.items():
            value, known = values[metric], baseline["figures"].get(name, {}).get(metric)
            line = f"{name}, {words}".ljust(42) + f"{value:>10,.{digits}f} a request"
            if known is None:
                print(f"{line}\nWORSE: {name} has no baseline; `make counts ARGS=--accept` makes this one")
                worse = True
                continue
            print(f"{line}, {known:,.{digits}f} in the baseline ({value / known - 1:+.1%})")
            if value > known * (1 + SLACK):
                print(f"WORSE: {name}: {value:,.{digits}f} {words} a request, the baseline of {known:,.{digits}f} "
                      f"allows {known * (1 + SLACK):,.{digits}f}; `make counts ARGS='--annotate {name}'` shows where")
                worse = True
            elif value < known * (1 - SLACK):
                print(f"note: {name}: {value:,.{digits}f} {words} a request, better than the baseline of "
                      f"{known:,.{digits}f}: lower it, by `make counts ARGS='--accept {name}'`")
    here = made_with()
    other = [f"{what} {here[what]}, not {old}" for what, old in baseline["made_with"].items() if here[what] != old]
    if worse and other:
        print(f"perhaps only because it was built with another {'; '.join(other)}")
    return not worse


def accept(found, known, machine):
    """What was not counted now stays, if it was made with the same."""
    here = made_with()
    old = known.get(machine, {})
    figures_kept = old["figures"] if old.get("made_with") == here else {}
    known[machine] = {"made_with": here, "figures": {**figures_kept, **found}}
    BASELINE.write_text(json.dumps(known, indent=1) + "\n")
    print(f"accepted as the baseline of {machine}: {', '.join(found)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--accept", action="store_true")
    parser.add_argument("--annotate", action="store_true")
    options = parser.parse_args()
    pattern = options.pattern
    names = [pattern] if pattern in CASES else [name for name in CASES if pattern in name]
    machine = platform.machine()
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if not names:
        print(f"no case has {pattern!r} in its name; the cases are: {' '.join(CASES)}", file=sys.stderr)
        return 2
    if shutil.which("valgrind") is None:
        print("counts skipped: there is no valgrind here; make setup installs it")
        return 0
    if machine not in known and not options.accept:
        print(f"counts skipped: no baseline for {machine}; make counts ARGS=--accept makes one")
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    try:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            found = dict(zip(names, pool.map(figures, names)))
    except (RuntimeError, OSError) as error:
        print(f"counts: {error}")
        return 1
    if options.annotate:
        for name in names:
            annotate(name)
    if options.accept:
        return accept(found, known, machine)
    return 0 if compare(found, known[machine]) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# bench/memory_bench.py - what streams and connections cost in memory (RSS), beside gRPC C++ where that was built.
#
# usage: tests/bench/memory_bench.py [--short] [name...]     names: parts of those that it prints; none: all
#
# One line per measurement, with its bound; build/bench/memory.json has them as numbers. Every program is a process of
# its own, so that its memory is nobody else's: tests/bench/peer.cc, peer.py and grpc_peer.cc (`make bench-peers`).
# --short: the gates of `make test`, about streams alone. Returns 1 when a bound was not kept.
import argparse
import contextlib
import json
import os
import pathlib
import platform
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/attack"))
from frames import DATA, Peer, grpc_head, headers, message  # noqa: E402

PROGRAMS = ROOT / "build/release/tests"
OURS = {"C": [str(PROGRAMS / "bench_peer")],
        "Python": [str(ROOT / "build/venv/bin/python"), str(ROOT / "tests/bench/peer.py")]}
SPEED = PROGRAMS / "bench_nebula_peer"
GRPC = PROGRAMS / "bench_grpc_peer"
KIB, MIB = 1 << 10, 1 << 20
LISTEN = "tcp://127.0.0.1:0"
SAMPLE_S = 0.02
PATIENCE_S = 600

FLAT_MAX = 4 * MIB         # of either side, while a million messages pass
SLOW_READER_MAX = 1 * MIB  # of a server for one stream that is read slowly
CONNECTION_MAX = 20 * KIB  # of a server for an idle one
STREAM_MAX = 8 * KIB       # of a server for an open one
FAULTS_MAX = 1             # pages that a call of 64 KiB has mapped anew; a heap that is trimmed each time has 15 and more


class Process:
    """A program of ours in the background: what it says, line by line, and its memory."""

    def __init__(self, *command):
        self.command = " ".join(map(str, command))
        self._process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)

    def line(self):
        """The next line that it says. Raises RuntimeError when it ends instead."""
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.command} ended with {self._process.wait()}")
        return line.strip()

    def rss(self):
        with open(f"/proc/{self._process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def page_faults(self):
        """Pages that it has had mapped so far."""
        with open(f"/proc/{self._process.pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[7])

    def sockets(self):
        folder = f"/proc/{self._process.pid}/fd"
        return sum(os.readlink(f"{folder}/{name}").startswith("socket:") for name in os.listdir(folder))

    def __enter__(self):
        self._watch = threading.Timer(PATIENCE_S, self._process.kill)
        self._watch.daemon = True
        self._watch.start()
        return self

    def __exit__(self, *_):
        self._watch.cancel()
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Samples:
    """The memory of processes from now on, looked at again and again on a thread."""

    def __init__(self, *processes):
        self._processes, self._over = processes, threading.Event()
        self._series = [[process.rss()] for process in processes]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over.wait(SAMPLE_S):
            for process, series in zip(self._processes, self._series):
                with contextlib.suppress(OSError):
                    series.append(process.rss() or series[-1])  # one that has ended has none

    def stop(self):
        self._over.set()
        self._thread.join()

    def ranges(self):
        """Of each: the most less the least."""
        return [max(series) - min(series) for series in self._series]

    def most(self):
        return [max(series) for series in self._series]


@contextlib.contextmanager
def serving(language):
    command = OURS[language]
    with Process(*command, "serve", *([LISTEN] if language == "C" else [])) as server:
        yield server, server.line().split()[0]


class Bench:
    def __init__(self, short, names):
        self.short, self.names, self.rows = short, names, []

    def wants(self, name):
        return not self.names or any(part in name for part in self.names)

    def say(self, name, text, ok=True, **figures):
        self.rows.append({"name": name, "ok": ok, **figures})
        print(f"{name:<34} {text}{'' if ok else '   NOT KEPT'}", flush=True)

    def measure(self, name, part, *arguments):
        """Runs a part, which answers (text, is it within its bound, figures)."""
        if not self.wants(name):
            return
        if sys.stderr.isatty():
            print(f"{name} ...", end="\r", file=sys.stderr, flush=True)
        try:
            text, ok, figures = part(*arguments)
        except (RuntimeError, OSError, ValueError) as error:
            text, ok, figures = f"{type(error).__name__}: {error}", False, {}
        self.say(name, text, ok, **figures)

    def skip(self, name, why):
        if self.wants(name):
            self.say(name, f"skipped: {why}", skipped=why)


def large_messages(count):
    """Calls of 64 KiB, eight at a time: does the server keep the memory of one for the next?"""
    with Process(SPEED, "serve", LISTEN) as server:
        load = [SPEED, "load", server.line(), "unary", 64 * KIB, 1, 8]
        faults = [server.page_faults()]
        for calls in (count // 10, count):  # the first have their pages mapped
            subprocess.run([*map(str, load), str(calls), "answers"], check=True, stdout=subprocess.DEVNULL, timeout=60)
            faults.append(server.page_faults())
    each = (faults[2] - faults[1]) / count
    return f"{each:5.2f} pages mapped anew for each call", each <= FAULTS_MAX, {"count": count, "pages_each": each}


# ---- streams ---------------------------------------------------------------------------------------------------------

def long_stream(language, way, count):
    """Every message is counted and its place checked, by peer.*; here it is about memory, after the first hundredth."""
    with serving(language) as (server, url), Process(*OURS[language], way, url, count, 20) as client:
        assert client.line() == "go"
        samples = Samples(client, server)
        seconds = float(client.line().split()[1])
        samples.stop()
        ours, theirs = samples.ranges()
    text = (f"{count:,} x 20 B in {seconds:.1f} s  rss flat within {ours / MIB:.1f} MiB (client), "
            f"{theirs / MIB:.1f} MiB (server)")
    figures = {"count": count, "seconds": seconds, "rss_client": ours, "rss_server": theirs}
    return text, max(ours, theirs) <= FLAT_MAX, figures


def slow_reader(language, size, seconds):
    rate = 10
    with serving(language) as (server, url):
        # The first stream of a process brings in code and memory that no further one does.
        with Process(*OURS[language], "down", url, 1000, 20) as first:
            while not first.line().startswith("done"):
                continue
        time.sleep(0.2)
        before = server.rss()
        with Process(*OURS[language], "read", url, size, rate, seconds) as client:
            assert client.line() == "go"
            samples = Samples(server)
            taken = int(client.line().split()[1])
            samples.stop()
        grown = samples.most()[0] - before
    if taken < rate * seconds - 2:
        raise RuntimeError(f"only {taken} messages in {seconds} s")
    text = f"{taken} messages in {seconds} s  server's rss +{grown / KIB:.0f} KiB"
    return text, grown < SLOW_READER_MAX, {"size": size, "seconds": seconds, "rss_server": grown}


def stalled_streams(count, stalled, rounds):
    with serving("C") as (server, url):
        before = server.rss()
        with Process(*OURS["C"], "talk", url, count, stalled, rounds) as client:
            assert client.line() == "go"
            sockets = client.sockets()
            seconds = float(client.line().split()[1])
            held = server.rss() - before
            client.line()
    messages = (count - stalled) * rounds
    text = (f"{count - stalled} of {count} streams made {rounds} rounds each in {seconds:.1f} s while {stalled} were "
            f"not read  {sockets} connection  server's rss +{held / MIB:.0f} MiB")
    return text, sockets == 1, {"rounds_per_second": messages / seconds, "connections": sockets, "rss_server": held}


# ---- what stands and does nothing ------------------------------------------------------------------------------------

def certificate(folder):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
    subprocess.run(["openssl", "req", "-x509", *key, "-out", "cert.pem", "-days", "2", "-subj", "/CN=bench"],
                   cwd=folder, check=True, capture_output=True)


def tls():
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is about memory, not about trust
    context.set_alpn_protocols(["h2"])
    return lambda plain: context.wrap_socket(plain)


@contextlib.contextmanager
def standing(kind, secure):
    """A server of that kind: its process, its port, and how to wrap a connection's socket."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        if secure:
            certificate(folder)
            files = [f"{folder}/cert.pem", f"{folder}/key.pem"]
        if kind == "grpc":
            command = [GRPC, "127.0.0.1:0", *files]
        else:
            command = [*OURS["C"], "serve", LISTEN.replace("tcp", "tls") if secure else LISTEN, *files]
        with Process(*command) as server:
            yield server, int(server.line().rsplit(":", 1)[1]), tls() if secure else None


def call(peer, path, last=True):
    """Sends one message; not last: the stream stays open."""
    stream = peer.stream()
    peer.send(headers(stream, grpc_head(path)) + message(stream, b"x" * 20, last))


def wait_for(peer, count):
    """Until so many messages have come."""
    end = time.monotonic() + 30
    while count > 0 and not peer.closed and time.monotonic() < end:
        count -= sum(kind == DATA and len(payload) > 0 for kind, _, _, payload in peer.read(1))
    if count > 0:
        raise RuntimeError(f"{count} answers did not come")


def settled(process):
    """Its memory when it has come to rest."""
    now = process.rss()
    for _ in range(20):
        time.sleep(0.25)
        before, now = now, process.rss()
        if abs(now - before) < 64 * KIB:
            break
    return now


def connect(port, wrap, count, path):
    peers = []
    for _ in range(count):
        peers.append(Peer(port, wrap=wrap))
        call(peers[-1], path)
        wait_for(peers[-1], 1)
    return peers


def idle_connections(kind, secure, count):
    """Each has made one call."""
    with standing(kind, secure) as (server, port, wrap):
        first = connect(port, wrap, 20, "/bench/unary")
        before = settled(server)
        peers = connect(port, wrap, count, "/bench/unary")
        each = (settled(server) - before) / count
        for peer in first + peers:
            peer.close()
    return f"{each / KIB:5.1f} KiB of rss each", each, {"count": count, "bytes_each": each}


def open_streams(kind, secure, count):
    """Each has had one message each way."""
    connections = 10
    with standing(kind, secure) as (server, port, wrap):
        peers = connect(port, wrap, connections, "/bench/unary")
        before = settled(server)
        for peer in peers:
            for _ in range(count // connections // 100):
                for _ in range(100):
                    call(peer, "/bench/echo", last=False)
                wait_for(peer, 100)
        each = (settled(server) - before) / count
        for peer in peers:
            peer.close()
    return f"{each / KIB:5.1f} KiB of rss each", each, {"count": count, "bytes_each": each}


def bounded(part, bound, *arguments):
    text, each, figures = part(*arguments)
    return text, bound is None or each <= bound, figures


def run(bench):
    short = bench.short
    for language in OURS:
        if not pathlib.Path(OURS[language][0]).exists():
            bench.skip(f"streams, {language}", f"{OURS[language][0]} was not built")
            continue
        count = {"C": 500_000, "Python": 50_000}[language] if short else 1_000_000
        for way in ("up", "down"):
            bench.measure(f"long stream {way}, {language}", long_stream, language, way, count)
        for size, word in ((20, "20 B"), (64 * KIB, "64 KiB")):
            bench.measure(f"slow reader of {word}, {language}", slow_reader, language, size, 3 if short else 15)
    bench.measure("messages of 64 KiB", large_messages, 2000)
    bench.measure("stalled streams", stalled_streams, *((200, 20, 20) if short else (1000, 100, 200)))
    if short:
        return
    for kind, secure in (("nebula", False), ("grpc", False), ("nebula", True), ("grpc", True)):
        words = ("gRPC C++" if kind == "grpc" else "Nebula") + (", TLS" if secure else "")
        parts = [(f"10,000 idle connections, {words}", idle_connections, CONNECTION_MAX),
                 (f"10,000 open streams, {words}", open_streams, STREAM_MAX)]
        for name, part, bound in parts:
            if kind == "grpc" and not GRPC.exists():
                bench.skip(name, "not built: make bench-peers, with libgrpc++-dev")
            else:
                bench.measure(name, bounded, part, None if kind == "grpc" or secure else bound, kind, secure, 10_000)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    bench = Bench(options.short, options.names)
    run(bench)
    out = ROOT / "build/bench/memory.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} "
                               f"{platform.release()}", "measurements": bench.rows}, indent=1) + "\n")
    return 0 if bench.rows and all(row["ok"] for row in bench.rows) else 1


if __name__ == "__main__":
    sys.exit(main())

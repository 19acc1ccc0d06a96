# bench/speed/contest.py - how contestants of the speed suite are measured.
#
# Each measure() is one turn, of about so many seconds, and answers {metric: value}; it raises RuntimeError when a
# request fails. Servers run on the first processor, loads on the second.
import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import batches
import memory_bench

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
# Unit, and which is better.
METRICS = {
    "server_cpu_us_per_req": ("us", "less"), "cpu_us": ("us", "less"), "per_s": ("/s", "more"),
    "p50_us": ("us", "less"), "p99_us": ("us", "less"), "start_ms": ("ms", "less"),
    "rss_bytes_per_connection": ("bytes", "less"),
}
MANY_CONNECTIONS = 100  # from here on what it takes to connect is measured, too, and taken off


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def cpu_s(pid):
    """Processor seconds of all threads of a process, by the scheduler's own clock."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Server:
    """A server under test; it stays up over all rounds, and costs nothing while others have their turn."""

    def __init__(self, command, port=None):
        self.process = subprocess.Popen(pinned(SERVER_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        text=True)
        self.address = f"127.0.0.1:{port}" if port else self.process.stdout.readline().strip()
        if port:
            time.sleep(0.3)
        if not self.address or self.process.poll() is not None:
            raise RuntimeError(f"{command[0]} does not start")
        self.pid = self.process.pid

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    @property
    def host_port(self):
        return re.sub(r"^\w+://", "", self.address).split("?")[0]


class Stage:
    """The servers of a case, each once, and a folder for their files. A context."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        self.servers = {}
        return self

    def __exit__(self, *_):
        for server in self.servers.values():
            server.stop()
        self._folder.cleanup()

    def server(self, key, command, port=None):
        if key not in self.servers:
            self.servers[key] = Server(command, port)
        return self.servers[key]

    def body(self, size):
        """A file with a gRPC message: a protobuf message of one field of `size` bytes."""
        length, left = b"", size
        while left > 127:
            length, left = length + bytes([left & 127 | 128]), left >> 7
        message = b"\x0a" + length + bytes([left]) + b"x" * size
        file = self.folder / f"body{size}"
        file.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
        return file

    def certificate(self):
        """The files of a certificate and of its key."""
        if not (self.folder / "cert.pem").exists():
            memory_bench.certificate(self.folder)
        return self.folder / "cert.pem", self.folder / "key.pem"


class Http2Load:
    """h2load against a server: processor time of the server for each request. size 0: a GET of a tiny file."""

    def __init__(self, stage, server, connections, streams, size, is_secure=False, paths=("/bench.Echo/Unary",)):
        self.server, self.shape = server, (connections, streams)
        scheme = "https" if is_secure else "http"
        host = "localhost" if server.address.startswith("unix:") else server.host_port
        uris = stage.folder / f"uris{len(paths)}_{server.pid}"
        uris.write_text("".join(f"{scheme}://{host}{path}\n" for path in (paths if size else ["/index.html"])))
        self.options = ["-i", uris]
        if host == "localhost":
            self.options += ["-B", server.address]
        if size:
            self.options += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", stage.body(size)]
        for _ in range(2):
            self.load(max(connections * streams * (5 if connections < MANY_CONNECTIONS else 1), 1000))

    def load(self, count):
        """Makes so many requests. Raises RuntimeError when one of them fails."""
        connections, streams = self.shape
        command = ["h2load", "-c", connections, "-m", streams, "-n", count, *self.options]
        done = subprocess.run(pinned(LOAD_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = re.search(r"status codes: (\d+) 2xx", done.stdout)
        if not found or int(found.group(1)) != count:
            raise RuntimeError(f"h2load: {done.stdout[-600:]}")
        self.per_s = float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", done.stdout).group(1))

    def cpu_s(self, count):
        before = cpu_s(self.server.pid)
        self.load(count)
        return cpu_s(self.server.pid) - before

    def measure(self, seconds):
        connections, streams = self.shape
        count = max(int(self.per_s * seconds), connections * streams)
        if connections < MANY_CONNECTIONS:
            return {"server_cpu_us_per_req": self.cpu_s(count) / count * 1e6}
        connecting = self.cpu_s(connections)  # with one request on each
        count = max(count, 3 * connections)
        return {"server_cpu_us_per_req": (self.cpu_s(count + connections) - connecting) / count * 1e6}


class Pair:
    """A library's client against its own server. The client prints one line of JSON."""

    def __init__(self, server, command, metrics):
        self.server, self.command, self.metrics = server, command, metrics

    def measure(self, seconds):
        before, ours = cpu_s(self.server.pid), os.times()
        done = subprocess.run(pinned(LOAD_CORE, [*self.command, seconds]), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.command[0]}: {done.stderr[-600:]}")
        after, then = cpu_s(self.server.pid), os.times()
        result = json.loads(done.stdout)
        if not result["count"] or not result["seconds"]:
            raise RuntimeError(f"{self.command[0]}: nothing was answered in {seconds} s")
        client = then.children_user + then.children_system - ours.children_user - ours.children_system
        result["per_s"] = result["count"] / result["seconds"]
        # With the tenth of the time that warms up.
        result["server_cpu_us_per_req"] = (after - before) / (result["count"] * 1.1) * 1e6
        result["cpu_us"] = (after - before + client) / (result["count"] * 1.1) * 1e6  # of both
        return {metric: result[metric] for metric in self.metrics}


class FirstAnswer:
    """From the start of a server's process to the end of its first call."""

    def __init__(self, command):
        self.command = command

    def measure(self, _):
        began = time.perf_counter()
        server = Server(self.command)
        try:
            host, port = server.host_port.split(":")
            with batches.asked((host, int(port)), "unary", 1, 1, settle=lambda: None):
                return {"start_ms": (time.perf_counter() - began) * 1e3}
        finally:
            server.stop()


class IdleConnections:
    """What a connection that has made one call, and makes no more, takes of the server's memory."""

    def __init__(self, kind, count):
        self.kind, self.count = kind, count

    def measure(self, _):
        return {"rss_bytes_per_connection": memory_bench.idle_connections(self.kind, False, self.count)[1]}


@contextlib.contextmanager
def awake():
    """Keeps the processors from halting, by work that yields to any other: a virtual one takes long to come back."""
    spin = "import os\nos.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))\nwhile True: pass"
    spinners = [subprocess.Popen(pinned(core, [sys.executable, "-c", spin])) for core in CORES]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()

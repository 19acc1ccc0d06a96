#!/usr/bin/env python3
# bench/speed_bench.py - Nebula and its peers, in the same run: what a call costs, how many there are in a second.
#
# usage: tests/bench/speed_bench.py [--rounds N] [--seconds S] [pattern]       pattern: only cases whose names have it
#
# Each measurement lasts --seconds; the peers take turns, round by round. Servers run on the first processor, loads on the
# second. A server's cost is the processor time of its process for each request, by the scheduler's own clock; with h2load
# as the load, whose body is a gRPC message. Pairs are a library's own client and server. Prints a table, and writes
# build/bench/results.json. The peers, of `make bench-peers`, are in bench/speed; those that are not there do not take part.
# A ratio is the median over the rounds of ours / theirs in the same round.
import argparse
import contextlib
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS, PEERS = ROOT / "build/release/tests", ROOT / "build/bench"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def cpu_s(pid):
    """Processor seconds of all threads of a process."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Server:
    """A server under test; it stays up over all rounds, and costs nothing while others have their turn."""

    def __init__(self, command, port=None):
        self.process = subprocess.Popen(pinned(SERVER_CORE, command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = f"127.0.0.1:{port}" if port else self.process.stdout.readline().strip()
        if port:
            time.sleep(0.3)
        if not self.address or self.process.poll() is not None:
            raise RuntimeError(f"{command[0]} does not start")
        self.pid = self.process.pid

    def stop(self):
        self.process.kill()
        self.process.wait()

    @property
    def host_port(self):
        return re.sub(r"^\w+://", "", self.address).split("?")[0]


def body(size):
    """A file with a gRPC message: a protobuf message of one field of `size` bytes."""
    length, left = b"", size
    while left > 127:
        length, left = length + bytes([left & 127 | 128]), left >> 7
    message = b"\x0a" + length + bytes([left]) + b"x" * size
    file = pathlib.Path(FOLDER) / f"body{size}"
    file.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    return file


def h2load(url, connections, streams, count, size):
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body(size)] if size else []
    done = subprocess.run(pinned(LOAD_CORE, ["h2load", "-c", connections, "-m", streams, "-n", count, *headers, url]),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"status codes: (\d+) 2xx", done.stdout)
    if not found or int(found.group(1)) != count:
        raise RuntimeError(f"h2load {url}:\n{done.stdout[-600:]}")
    return float(re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", done.stdout).group(1))


class Http2Load:
    """h2load against a server: processor time of the server for each request."""

    metric, unit, better = "server_cpu_us_per_req", "us", "less"

    def __init__(self, server, connections, streams, size, scheme="http"):
        path = "/index.html" if size == 0 else "/bench.Echo/Unary"
        self.server, self.size = server, size
        self.url = f"{scheme}://{server.host_port}{path}"
        self.shape = (connections, streams)
        count = max(connections * streams * 5, 1000)
        h2load(self.url, *self.shape, count, size)
        self.per_s = h2load(self.url, *self.shape, count, size)

    def measure(self, seconds):
        count = max(int(self.per_s * seconds), self.shape[0] * self.shape[1])
        before = cpu_s(self.server.pid)
        self.per_s = h2load(self.url, *self.shape, count, self.size)
        return (cpu_s(self.server.pid) - before) / count * 1e6


class Pair:
    """A library's client against its own server."""

    def __init__(self, server, command, metric):
        self.server, self.command, self.metric = server, command, metric
        self.unit, self.better = {"per_s": ("/s", "more"), "p50_us": ("us", "less"), "cpu_us": ("us", "less"),
                                  "server_cpu_us_per_mb": ("us/MB", "less")}[metric]

    def measure(self, seconds):
        before, ours = cpu_s(self.server.pid), os.times()
        done = subprocess.run(pinned(LOAD_CORE, [*self.command, seconds]), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.command[0]}: {done.stderr[-600:]}")
        after, then = cpu_s(self.server.pid), os.times()
        result = json.loads(done.stdout)
        if self.metric == "per_s":
            return result["count"] / result["seconds"]
        if self.metric == "cpu_us":  # of both, with the tenth of the time that warms up
            client = then.children_user + then.children_system - ours.children_user - ours.children_system
            return (after - before + client) / (result["count"] * 1.1) * 1e6
        return result[self.metric]


# ---- who takes part

def peer(name):
    program = PEERS / name
    return program if program.exists() else None


def server_commands(tls=None):
    """{name: command}; of those that are there."""
    files = list(tls) if tls else []
    commands = {"nebula": [OURS / "bench_nebula_peer", "serve",
                           "tcp://127.0.0.1:0" if not tls else f"tls://127.0.0.1:0?cert={files[0]}&key={files[1]}"]}
    if program := peer("grpc_peer"):
        commands |= {f"grpc_cpp_{kind}": [program, "serve", kind, *files] for kind in ("async", "callback")}
    if program := peer("go_peer"):
        commands |= {f"{kind}_go": [program, "serve", kind, *files] for kind in ("grpc", "connect")}
    if (program := peer("tonic_peer")) and not tls:
        commands["tonic"] = [program, "serve"]
    return commands


class Stage:
    """The servers that run, each once."""

    def __init__(self):
        self.servers = {}

    def get(self, key, command, port=None):
        if key not in self.servers:
            self.servers[key] = Server(command, port)
        return self.servers[key]

    def close(self):
        for server in self.servers.values():
            server.stop()
        self.servers.clear()


def make_certificate():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                    "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext",
                    "subjectAltName=DNS:localhost,IP:127.0.0.1"], cwd=FOLDER, check=True, capture_output=True)
    return f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem"


def unary(stage, connections, streams, size, tls=False):
    """Http2Load of every server; nghttpd, which answers with a tiny file, where the message is tiny too."""
    files = make_certificate() if tls and not (pathlib.Path(FOLDER) / "cert.pem").exists() else (f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem")
    scheme = "https" if tls else "http"
    found = {}
    for name, command in server_commands(files if tls else None).items():
        found[name] = lambda name=name, command=command: Http2Load(stage.get((name, tls), command), connections, streams, size, scheme)
    if shutil.which("nghttpd") and size == 20:
        (pathlib.Path(FOLDER) / "index.html").write_text("x" * 20)
        port = 29400 + tls
        command = ["nghttpd", "-d", FOLDER, *(["--no-tls", port] if not tls else [port, files[1], files[0]])]
        found["nghttpd"] = lambda: Http2Load(stage.get(("nghttpd", tls), command, port), connections, streams, 0, scheme)
    return found


def pair(stage, shape, size, connections, in_flight, metric):
    load = [size, connections, in_flight]
    found = {}

    def add(name, key, serve, client):
        def make():
            server = stage.get(key, serve)
            return Pair(server, client(server), metric)
        found[name] = make

    ours = OURS / "bench_nebula_peer"
    add("nebula", ("nebula", False), [ours, "serve", "tcp://127.0.0.1:0"], lambda s: [ours, "load", s.address, shape, *load])
    if program := peer("grpc_peer"):
        add("grpc_cpp_async", ("grpc_cpp_async", False), [program, "serve", "async"], lambda s, program=program: [program, "load", s.address, shape, *load])
    if shape == "unary":
        if program := peer("go_peer"):
            for kind in ("grpc", "rpcx"):
                add(f"{kind}_go" if kind == "grpc" else kind, (f"{kind}_go", False), [program, "serve", kind],
                    lambda s, kind=kind, program=program: [program, "load", kind, s.address, *load])
        if program := peer("tonic_peer"):
            add("tonic", ("tonic", False), [program, "serve"], lambda s, program=program: [program, "load", s.address, *load])
        uv = OURS / "bench_uv_peer"
        if size == 20 and connections == 1 and metric == "per_s":
            add("uv_ping_pong", ("uv", False), [uv, "serve"], lambda s: [uv, "load", s.address, in_flight])
    return found


def by_name(stage):
    """Ours against ours: through a name, which finds the Unix socket, and straight at that socket."""
    ours = OURS / "bench_nebula_peer"

    def make(target):
        def build():
            server = stage.get(("by name", False), [ours, "serve", "bench.Echo"])
            address = next(word for word in server.address.split() if word.startswith("unix:"))
            return Pair(server, [ours, "load", target or address, "unary", 20, 1, 100], "cpu_us")
        return build
    return {"nebula": make("bench.Echo"), "nebula_direct": make(None)}


def cases():
    found = {}
    for size in (20, 1024):
        for connections, streams in ((1, 1), (1, 100), (10, 10), (50, 20)):
            found[f"unary_{size}B_{connections}x{streams}"] = lambda stage, s=size, c=connections, m=streams: unary(stage, c, m, s)
    for connections, streams in ((1, 8), (4, 4)):
        found[f"unary_64KiB_{connections}x{streams}"] = lambda stage, c=connections, m=streams: unary(stage, c, m, 65536)
    for connections, streams in ((1, 100), (50, 20)):
        found[f"tls_unary_20B_{connections}x{streams}"] = lambda stage, c=connections, m=streams: unary(stage, c, m, 20, tls=True)
    for connections in (1, 10, 100, 1000):
        found[f"connections_{connections}"] = lambda stage, c=connections: {
            name: make for name, make in unary(stage, c, 1, 20).items() if name in ("nebula", "grpc_cpp_async", "nghttpd")}
    for size in (20, 1024):
        found[f"pair_{size}B_1x100"] = lambda stage, s=size: pair(stage, "unary", s, 1, 100, "per_s")
    found["pair_20B_50x20"] = lambda stage: pair(stage, "unary", 20, 50, 20, "per_s")
    found["pair_20B_1x1_p50"] = lambda stage: pair(stage, "unary", 20, 1, 1, "p50_us")
    for size, in_flight in ((20, 100), (1024, 100), (65536, 8)):
        found[f"stream_{size}B_{in_flight}"] = lambda stage, s=size, f=in_flight: pair(stage, "stream", s, 1, f, "per_s")
    found["by_name_20B_1x100"] = by_name
    return found


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


def run_case(name, make_peers, rounds, seconds):
    stage = Stage()
    values = {}
    try:
        with awake() if name.endswith("1x1_p50") else contextlib.nullcontext():
            contestants = {}
            for peer_name, make in make_peers(stage).items():
                try:
                    contestants[peer_name] = make()
                    values[peer_name] = []
                except (RuntimeError, ValueError) as error:
                    print(f"  {peer_name} cannot take part: {error}", file=sys.stderr)
            for _ in range(rounds):
                for peer_name, contestant in contestants.items():
                    values[peer_name].append(contestant.measure(seconds))
            kind = contestants["nebula"]
    finally:
        stage.close()
    ours = values.pop("nebula")
    row = {"case": name, "metric": kind.metric, "unit": kind.unit, "better": kind.better, "ours": statistics.median(ours),
           "spread": [min(ours), max(ours)], "peers": {}, "ratio": {}, "ratio_spread": {}}
    for peer_name, theirs in values.items():
        ratios = [a / b for a, b in zip(ours, theirs)]
        row["peers"][peer_name] = statistics.median(theirs)
        row["ratio"][peer_name] = statistics.median(ratios)
        row["ratio_spread"][peer_name] = [min(ratios), max(ratios)]
    return row


def show(row):
    low, high = row["spread"]
    print(f"{row['case']:<24} {row['metric']:<22} {row['ours']:>10.2f} ({low:.2f}-{high:.2f}) {row['unit']}", flush=True)
    for name, value in row["peers"].items():
        low, high = row["ratio_spread"][name]
        print(f"{'':<24} {name:<22} {value:>10.2f}   ours is {row['ratio'][name]:.2f} of it ({low:.2f}-{high:.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6)
    options = parser.parse_args()
    chosen = {name: make for name, make in cases().items() if options.pattern in name}
    if not chosen:
        print(f"no benchmark and no case has {options.pattern!r} in its name; the cases are: {' '.join(cases())}", file=sys.stderr)
        return 2
    if shutil.which("h2load") is None:
        print("speed skipped: h2load is not here; make bench-peers installs it, and the peers")
        return 0
    machine = {"processors": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()}
    rows = []
    for number, (name, make) in enumerate(chosen.items(), 1):
        print(f"[{number}/{len(chosen)}]", end=" ", flush=True)
        rows.append(run_case(name, make, options.rounds, options.seconds))
        show(rows[-1])
    PEERS.mkdir(parents=True, exist_ok=True)
    (PEERS / "results.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return 0


with tempfile.TemporaryDirectory() as FOLDER:
    if __name__ == "__main__":
        sys.exit(main())

#!/usr/bin/env python3
# bench/speed_bench.py - Nebula and its peers, in the same run: what a call costs, how many there are in a second.
#
# usage: tests/bench/speed_bench.py [--rounds N] [--seconds S] [--quick | --goals] [pattern]
#        pattern: only cases whose names have it. --quick: does each case work? One short round, and nothing of 10,000.
#        --goals: those of speed/goals.py
#
# Each measurement lasts --seconds; the peers take turns, round by round. A server's cost is the processor time of its
# process for each request, with h2load as the load, whose body is a gRPC message. Pairs are a library's own client and
# server. Prints a table, and writes build/bench/results.json, which `make bench-docs` renders. The peers, of
# `make bench-peers`, are in bench/speed; those that are not there do not take part. A ratio is the median over the
# rounds of ours / theirs in the same round. Returns 1 when a case could not be measured, or a goal was not reached.
import argparse
import contextlib
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "speed"))
import goals  # noqa: E402
from contest import METRICS, FirstAnswer, Http2Load, IdleConnections, Pair, Stage, awake  # noqa: E402
from memory_bench import GRPC  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "build/bench"
OURS, UV = ROOT / "build/release/tests/bench_nebula_peer", ROOT / "build/release/tests/bench_uv_peer"
LOCAL = "tcp://127.0.0.1:0"


# ---- who takes part; each of these answers {name: makes a contestant}, where ours is "nebula"

def peer(name):
    program = PEERS / name
    return program if program.exists() else None


def server_commands(files=()):
    """{name: command}; of those that are there. files: certificate and key."""
    commands = {"nebula": [OURS, "serve", f"tls://127.0.0.1:0?cert={files[0]}&key={files[1]}" if files else LOCAL]}
    if program := peer("grpc_peer"):
        commands |= {f"grpc_cpp_{kind}": [program, "serve", kind, *files] for kind in ("async", "callback")}
    if program := peer("go_peer"):
        commands |= {f"{kind}_go": [program, "serve", kind, *files] for kind in ("grpc", "connect")}
    if (program := peer("tonic_peer")) and not files:
        commands["tonic"] = [program, "serve"]
    return commands


def under_load(stage, commands, *shape, **more):
    """Http2Load of each of these servers."""
    def make(name, command):
        return lambda: Http2Load(stage, stage.server(name, command), *shape, **more)
    return {name: make(name, command) for name, command in commands.items()}


def unary(stage, connections, streams, size, is_secure=False):
    """All servers; nghttpd, which answers with a tiny file, where the message is tiny too."""
    files = stage.certificate() if is_secure else ()
    found = under_load(stage, server_commands(files), connections, streams, size, is_secure=is_secure)
    if shutil.which("nghttpd") and size == 20:
        (stage.folder / "index.html").write_text("x" * 20)
        port = 29400 + is_secure
        words = [port, files[1], files[0]] if is_secure else ["--no-tls", port]
        command = ["nghttpd", "-d", stage.folder, *words]
        found["nghttpd"] = lambda: Http2Load(stage, stage.server("nghttpd", command, port), connections, streams, 0,
                                             is_secure)
    return found


def connections(stage, count):
    found = unary(stage, count, 1, 20)
    return {name: found[name] for name in ("nebula", "grpc_cpp_async", "nghttpd") if name in found}


def unix(stage, streams):
    commands = {"nebula": [OURS, "serve", f"unix:{stage.folder}/nebula"], "nebula_tcp": [OURS, "serve", LOCAL]}
    if program := peer("grpc_peer"):
        commands["grpc_cpp_async"] = [program, "serve", "async", f"unix:{stage.folder}/grpc"]
    return under_load(stage, commands, 1, streams, 20)


def threaded(stage, streams):
    """Handlers that wait for a queue, and are not called by the thread that reads: against both of gRPC's ways."""
    commands = server_commands()
    ours = {"nebula": [OURS, "serve", LOCAL, "threaded"], "nebula_inline": commands["nebula"]}
    theirs = {name: command for name, command in commands.items() if name.startswith("grpc_cpp")}
    return under_load(stage, {**ours, **theirs}, 1, streams, 20)


def methods(stage, count):
    """Calls of so many methods in turn, against calls of one."""
    paths = [f"/bench.Echo/Unary{i}" for i in range(count)]
    many = under_load(stage, {"nebula": [OURS, "serve", LOCAL, "methods", count]}, 1, 100, 20, paths=paths)
    return {**many, **under_load(stage, {"nebula_one_method": [OURS, "serve", LOCAL]}, 1, 100, 20)}


def pair(stage, shape, size, connections, in_flight, *metrics):
    load = [size, connections, in_flight]
    found = {}

    def add(name, serve, client):
        def make():
            server = stage.server(name, serve)
            return Pair(server, client(server), metrics)
        found[name] = make

    add("nebula", [OURS, "serve", LOCAL], lambda s: [OURS, "load", s.address, shape, *load])
    if program := peer("grpc_peer"):
        add("grpc_cpp_async", [program, "serve", "async"],
            lambda s, program=program: [program, "load", s.address, shape, *load])
    if shape == "unary":
        if program := peer("go_peer"):
            for kind, name in (("grpc", "grpc_go"), ("rpcx", "rpcx")):
                add(name, [program, "serve", kind],
                    lambda s, kind=kind, program=program: [program, "load", kind, s.address, *load])
        if program := peer("tonic_peer"):
            add("tonic", [program, "serve"], lambda s, program=program: [program, "load", s.address, *load])
        if size == 20 and connections == 1 and metrics == ("per_s",):
            add("uv_ping_pong", [UV, "serve"], lambda s: [UV, "load", s.address, in_flight])
    return found


def under_more_load(stage, in_flight):
    found = pair(stage, "unary", 20, 1, in_flight, "per_s", "p50_us", "p99_us")
    return {name: found[name] for name in ("nebula", "grpc_cpp_async", "tonic") if name in found}


def unix_pair(stage, *metrics):
    """One call at a time over a Unix socket, and over TCP."""
    def ours(name, address):
        server = stage.server(name, [OURS, "serve", address])
        return Pair(server, [OURS, "load", server.address, "unary", 20, 1, 1], metrics)

    def theirs(program):
        server = stage.server("grpc_cpp_async", [program, "serve", "async", f"unix:{stage.folder}/grpc"])
        return Pair(server, [program, "load", server.address, "unary", 20, 1, 1], metrics)
    found = {"nebula": lambda: ours("nebula", f"unix:{stage.folder}/nebula"),
             "nebula_tcp": lambda: ours("nebula_tcp", LOCAL)}
    if program := peer("grpc_peer"):
        found["grpc_cpp_async"] = lambda: theirs(program)
    return found


def by_name(stage):
    """Ours against ours: through a name, which finds the Unix socket, and straight at that socket."""
    def make(target):
        def build():
            server = stage.server("by name", [OURS, "serve", "bench.Echo"])
            address = next(word for word in server.address.split() if word.startswith("unix:"))
            return Pair(server, [OURS, "load", target or address, "unary", 20, 1, 100], ["cpu_us"])
        return build
    return {"nebula": make("bench.Echo"), "nebula_direct": make(None)}


def first_answer(_):
    return {name: lambda command=command: FirstAnswer(command) for name, command in server_commands().items()}


def idle(_, count):
    found = {"nebula": lambda: IdleConnections("nebula", count)}
    return found | ({"grpc_cpp_callback": lambda: IdleConnections("grpc", count)} if GRPC.exists() else {})


def cases():
    """{name: (function, arguments after the stage)}; their names are those in results.json."""
    found = {}
    for size in (20, 1024):
        for shape in ((1, 1), (1, 100), (10, 10), (50, 20)):
            found[f"unary_{size}B_{shape[0]}x{shape[1]}"] = unary, *shape, size
    for shape in ((1, 8), (4, 4)):
        found[f"unary_64KiB_{shape[0]}x{shape[1]}"] = unary, *shape, 65536
    for shape in ((1, 100), (50, 20)):
        found[f"tls_unary_20B_{shape[0]}x{shape[1]}"] = unary, *shape, 20, True
    for streams in (1, 100):
        found[f"unix_unary_20B_1x{streams}"] = unix, streams
        found[f"threaded_unary_20B_1x{streams}"] = threaded, streams
    for count in (1, 10, 100, 1000, 10_000):
        found[f"connections_{count}"] = connections, count
    for count in (1, 100, 1000):
        found[f"methods_{count}"] = methods, count
    for size in (20, 1024):
        found[f"pair_{size}B_1x100"] = pair, "unary", size, 1, 100, "per_s"
    found["pair_20B_50x20"] = pair, "unary", 20, 50, 20, "per_s"
    found["pair_20B_1x1_p50"] = pair, "unary", 20, 1, 1, "p50_us"
    found["unix_pair_20B_1x1_p50"] = unix_pair, "p50_us"
    for in_flight in (1, 4, 16, 64, 256):
        found[f"load_{in_flight}"] = under_more_load, in_flight
    for size, in_flight in ((20, 100), (1024, 100), (65536, 8)):
        found[f"stream_{size}B_{in_flight}"] = pair, "stream", size, 1, in_flight, "per_s", "server_cpu_us_per_req"
    found["by_name_20B_1x100"] = by_name,
    found["first_answer"] = first_answer,
    for count in (1000, 10_000):
        found[f"idle_connections_{count}"] = idle, count
    return found


# ---- a case

def measured(name, case, rounds, seconds):
    """{contestant: [figures of each round]}. One that fails is out; without ours RuntimeError is raised."""
    function, *arguments = case
    figures, contestants = {}, {}
    if name.endswith("_10000"):
        rounds = min(rounds, 2)  # it takes long
    if name.startswith("idle_"):
        rounds = 1  # and this varies little

    def attempt(who, what):
        try:
            with contextlib.suppress(RuntimeError):
                return what()
            return what()  # a machine may stand still for as long as a round lasts; twice tells of more
        except (RuntimeError, ValueError, OSError) as error:
            if who == "nebula":
                raise RuntimeError(f"{name} cannot be measured: {error}") from error
            print(f"  {who} cannot take part: {error}", file=sys.stderr)
            contestants.pop(who, None)
            figures.pop(who, None)

    with Stage() as stage, awake() if name.endswith("1x1_p50") else contextlib.nullcontext():
        for who, make in function(stage, *arguments).items():
            if contestant := attempt(who, make):
                contestants[who], figures[who] = contestant, []
        for _ in range(rounds):
            for who, contestant in list(contestants.items()):
                if figure := attempt(who, lambda contestant=contestant: contestant.measure(seconds)):
                    figures[who].append(figure)
    return figures


def row_of(case, metric, figures):
    ours = [figure[metric] for figure in figures["nebula"]]
    unit, better = METRICS[metric]
    row = {"case": case, "metric": metric, "unit": unit, "better": better, "ours": statistics.median(ours),
           "spread": [min(ours), max(ours)], "peers": {}, "ratio": {}, "ratio_spread": {}}
    for who in figures.keys() - {"nebula"}:
        theirs = [figure[metric] for figure in figures[who]]
        ratios = [a / b for a, b in zip(ours, theirs)]
        row["peers"][who] = statistics.median(theirs)
        row["ratio"][who] = statistics.median(ratios)
        row["ratio_spread"][who] = [min(ratios), max(ratios)]
    return row


def show(row):
    low, high = row["spread"]
    print(f"{row['case']:<24} {row['metric']:<24} {row['ours']:>10.2f} ({low:.2f}-{high:.2f}) {row['unit']}")
    for name, value in sorted(row["peers"].items()):
        low, high = row["ratio_spread"][name]
        print(f"{'':<24} {name:<24} {value:>10.2f}   ours is {row['ratio'][name]:.2f} of it ({low:.2f}-{high:.2f})")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pattern", nargs="?", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--goals", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 1, 0.2
    chosen = {name: case for name, case in cases().items()
              if options.pattern in name and not (options.quick and name.endswith("_10000"))
              and (not options.goals or name in goals.CASES)}
    if not chosen:
        names = " ".join(cases())
        print(f"no benchmark and no case has {options.pattern!r} in its name; the cases are: {names}", file=sys.stderr)
        return 2
    if shutil.which("h2load") is None:
        print("speed skipped: h2load is not here; make bench-peers installs it, and the peers")
        return 0
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    machine = {"processors": os.cpu_count(), "kernel": platform.release(), "architecture": platform.machine()}
    began, rows, failed = time.monotonic(), [], False
    for number, (name, case) in enumerate(chosen.items(), 1):
        print(f"[{number}/{len(chosen)}]", end=" ", flush=True)
        try:
            figures = measured(name, case, options.rounds, options.seconds)
        except RuntimeError as error:
            print(error)
            failed = True
            continue
        for metric in figures["nebula"][0]:
            rows.append(row_of(name, metric, figures))
            show(rows[-1])
    print(f"{len(chosen)} cases in {time.monotonic() - began:.0f} s")
    reached = [] if options.quick else goals.judged(rows)
    if reached:
        goals.show(reached)
    PEERS.mkdir(parents=True, exist_ok=True)
    how = {"rounds": options.rounds, "seconds": options.seconds, 
           "is_whole": not options.quick and not options.goals and not options.pattern}
    (PEERS / "results.json").write_text(json.dumps({"machine": machine, "how": how, "goals": reached, "rows": rows}, indent=1) + "\n")
    return failed or not all(each["held"] for each in reached)


if __name__ == "__main__":
    sys.exit(main())

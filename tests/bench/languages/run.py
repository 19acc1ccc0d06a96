#!/usr/bin/env python3
# bench/languages/run.py - Nebula against each language's own gRPC library: processor time a call over both processes.
#
# usage: tests/bench/languages/run.py [--rounds N] [--seconds S] [--build] [language...]
#        languages: python-aio python-sync node java go; none: all. --build: only builds the programs
#
# In a round each contestant has one turn at each case, interleaved; a figure is the median of the rounds, with the
# spread. A goal is what Nebula promises in that case; the last line counts those that held, and 1 is returned if one
# did not. Results are in build/bench/languages.json.
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
OUT = ROOT / "build/bench"
JAVA = ":".join(map(str, [OUT / "java/classes", ROOT / "build/java/target/nebula.jar", ROOT / "build/java/target/lib/*",
                          OUT / "java/lib/*"]))
PYTHON = [str(ROOT / "build/venv/bin/python"), str(HERE / "load.py")]
NODE = ["sh", str(ROOT / "scripts/node.sh"), str(HERE / "node/load.js")]


def build_java():
    subprocess.run(["mvn", "-q", "-B", "-f", HERE / "java/pom.xml", "dependency:copy-dependencies",
                    f"-DoutputDirectory={OUT / 'java/lib'}"], check=True)
    subprocess.run(["javac", "-d", OUT / "java/classes", "-cp", JAVA, HERE / "java/Load.java"], check=True)


def build_go():
    subprocess.run([ROOT / "scripts/go.sh", HERE.relative_to(ROOT) / "go", "build", "-o", OUT / "go_load", "."], check=True)


# By language: its command, its libraries (ours, theirs), what is built, by which tool, and what Nebula promises of the
# processor time of a unary call, theirs / ours.
LANGUAGES = {
    "python-aio": (PYTHON, ("nebula-aio", "grpc-aio"), None, "python3", 8),
    "python-sync": (PYTHON, ("nebula-sync", "grpc-sync"), None, "python3", 3),
    "node": (NODE, ("nebula", "grpc"), None, "node", 8),
    "java": (["java", "-cp", JAVA, "Load"], ("nebula", "grpc"), build_java, "javac", 2),
    "go": ([str(OUT / "go_load")], ("nebula", "grpc"), build_go, "go", 2),
}
CASES = ("unary64", "unary1", "stream")


def cpu_s(pid):
    """Processor seconds of a process, with those of its threads that have ended."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, command, library):
        self.process = subprocess.Popen([*command, "serve", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError(f"{library}'s server does not start")

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def turn(command, library, server, case, seconds):
    """One load: processor time a message over both processes, the median latency, messages a second."""
    load = subprocess.Popen([*command, "load", library, server.address, case, str(seconds)], stdout=subprocess.PIPE, text=True)
    pids = [server.process.pid, load.pid]
    began = load.stdout.readline()
    before = sum(map(cpu_s, pids))
    result = load.stdout.readline()  # the load is still there, and can be asked
    spent = sum(map(cpu_s, pids)) - before
    load.wait(60)
    if not began or not result:
        raise RuntimeError(f"{library}'s load of {case} failed, or {seconds} s are too short")
    result = json.loads(result)
    return {"cpu_us": spent * 1e6 / max(result["count"], 1), "p50_us": result["p50_us"],
            "per_s": result["count"] / result["seconds"]}


def run_language(name, rounds, seconds):
    """By case, library and metric: a figure for each round."""
    command, libraries, *_ = LANGUAGES[name]
    figures = {case: {library: [] for library in libraries} for case in CASES}
    servers = {library: Server(command, library) for library in libraries}
    try:
        for round_ in range(rounds):
            for case in CASES:
                for library in libraries if round_ % 2 == 0 else reversed(libraries):
                    figures[case][library].append(turn(command, library, servers[library], case, seconds))
    finally:
        for server in servers.values():
            server.end()
    return figures


def judge(name, figures):
    """What Nebula promises of a language, as rows of results: medians, and Nebula's advantage in each round."""
    _, (ours, theirs), _, _, goal = LANGUAGES[name]
    rows = []
    for case, metric, what, promise in (
            ("unary64", "cpu_us", "processor time of a call, us", goal),
            ("unary1", "p50_us", "latency of one call after the other, us", 1),
            ("stream", "per_s", "messages a second of a stream", 3)):
        mine, other = ([turn[metric] for turn in figures[case][library]] for library in (ours, theirs))
        times = [b / a if metric != "per_s" else a / b for a, b in zip(mine, other)]
        rows.append({"language": name, "what": what, "ours": statistics.median(mine), "theirs": statistics.median(other),
                     "times": statistics.median(times), "spread": [min(times), max(times)], "promise": promise,
                     "held": statistics.median(times) >= promise})
    return rows


def text(row):
    low, high = row["spread"]
    return (f"{row['language']:<12} {row['what']:<40} {row['ours']:>10,.1f} {row['theirs']:>10,.1f}  {row['times']:5.2f}x "
            f"({low:.2f}-{high:.2f})  at least {row['promise']}x: {'held' if row['held'] else 'NOT HELD'}")


def main():
    parser = argparse.ArgumentParser(description="Nebula against each language's own gRPC library.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of a turn, a third of it to warm up")
    parser.add_argument("--build", action="store_true", help="only build the programs")
    parser.add_argument("languages", nargs="*", help=" ".join(LANGUAGES))
    options = parser.parse_args()
    if unknown := set(options.languages) - set(LANGUAGES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(LANGUAGES)}")
    OUT.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in options.languages or LANGUAGES:
        _, libraries, build, tool, _ = LANGUAGES[name]
        if shutil.which(tool) is None:
            print(f"{name}: skipped, there is no {tool} here")
            continue
        if build is not None:
            build()
        if options.build:
            continue
        for row in judge(name, run_language(name, options.rounds, options.seconds)):
            rows.append(row)
            print(text(row), flush=True)
    if options.build:
        return 0
    (OUT / "languages.json").write_text(json.dumps(
        {"when": time.strftime("%Y-%m-%d"), "processors": os.cpu_count(), "machine": platform.machine(),
         "rounds": options.rounds, "seconds": options.seconds, "rows": rows}, indent=1) + "\n")
    held = sum(row["held"] for row in rows)
    print(f"languages: {held} of {len(rows)} held")
    return 0 if rows and held == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# bench/run.py - runs the benchmarks, one after the other: build/release/tests/bench_*_bench and tests/bench/*_bench.py.
#
# usage: tests/bench/run.py [--quick | --goals] [pattern...]
#        pattern: those whose names have one of them; none: all. A pattern that no name has chooses cases of the speed
#                 benchmark: unary, stream, tls_unary_20B...
#        --quick: does each of them work? The figures are worth little. --goals: the cases of speed with a promise
#
# What they print is kept in build/bench/<name>.json too, line by line, unless they write that themselves. Returns 1
# when one of them did: a bound was not kept.
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "build/bench"


QUICK = {"memory": "--short", "scale": "--quick", "speed": "--quick"}


def benchmarks():
    """By name, sorted: how to run each."""
    built = (ROOT / "build/release/tests").glob("bench_*_bench")
    programs = {path.name.removeprefix("bench_"): [path] for path in built}
    scripts = {path.stem: [sys.executable, path] for path in (ROOT / "tests/bench").glob("*_bench.py")}
    return {name.removesuffix("_bench"): command for name, command in sorted({**programs, **scripts}.items())}


def run(name, command):
    print(f"---- {name}", flush=True)
    began, lines = time.time(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    result = RESULTS / f"{name}.json"
    if not result.exists() or result.stat().st_mtime < began:
        result.write_text(json.dumps({"lines": lines}, indent=1) + "\n")
    return process.returncode


def main(words):
    patterns = [word for word in words if not word.startswith("--")]
    chosen = {name: command for name, command in benchmarks().items()
              if not patterns or any(pattern in name for pattern in patterns)}
    if not chosen:
        chosen = {"speed": [*benchmarks()["speed"], *patterns]}
    if "--quick" in words:
        chosen = {name: command + ([QUICK[name]] if name in QUICK else []) for name, command in chosen.items()}
    if "--goals" in words:
        chosen = {"speed": [*benchmarks()["speed"], "--goals", *patterns]}
    RESULTS.mkdir(parents=True, exist_ok=True)
    return max(run(name, command) != 0 for name, command in chosen.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
# tests/fuzz/run.py - runs the fuzzers of build/fuzz, one after the other.
#
# usage: tests/fuzz/run.py [--seconds N] [name...]      N: of each one, 60 unless said
#
# First each input of tests/fuzz/found/<name>, which are those that once did harm: they must do none. Then new ones, on top
# of what earlier runs have gathered in build/fuzz/corpus/<name>. One line per fuzzer: how many inputs it ran and how many
# edges of the program it has reached. What it finds is kept in build/fuzz/found; to keep it for ever, copy it. The last
# line is "fuzz: N fuzzers, 0 findings".
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS, BUILD = ROOT / "build/fuzz/tests", ROOT / "build/fuzz"
LIMITS = ["-max_len=4096", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]


def fuzz(name, seconds):
    """True: nothing was found."""
    corpus, found = BUILD / "corpus" / name, BUILD / "found"
    corpus.mkdir(parents=True, exist_ok=True)
    found.mkdir(parents=True, exist_ok=True)
    program = [PROGRAMS / f"fuzz_{name}_fuzz", *LIMITS, f"-artifact_prefix={found}/{name}-"]
    known = sorted((ROOT / "tests/fuzz/found" / name).glob("*"))
    runs = [[*program, *known]] if known else []
    runs.append([*program, f"-max_total_time={seconds}", corpus])
    for command in runs:
        done = subprocess.run(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        if done.returncode != 0:
            print(f"fuzz {name}: FOUND something, see build/fuzz/found")
            print("    | " + "\n    | ".join(done.stdout.splitlines()[-60:]), flush=True)
            return False
    inputs = re.findall(r"number_of_executed_units: (\d+)", done.stdout)
    edges = re.findall(r"cov: (\d+)", done.stdout)
    print(f"fuzz {name:<10} {int(inputs[-1]):>9} inputs, {edges[-1] if edges else 0:>6} edges, nothing found", flush=True)
    return True


def main():
    parser = argparse.ArgumentParser(description="Runs the fuzzers of build/fuzz (make fuzzers).")
    parser.add_argument("--seconds", type=int, default=60, help="of each fuzzer; 60 unless said")
    parser.add_argument("names", nargs="*", help="some of them: abi frame header schema session url")
    options = parser.parse_args()
    there = sorted(path.name[len("fuzz_") : -len("_fuzz")] for path in PROGRAMS.glob("fuzz_*_fuzz"))
    names = options.names or there
    if not there or set(names) - set(there):
        print(f"there are: {' '.join(there) or 'none, say make fuzzers first'}", file=sys.stderr)
        return 2
    findings = sum(not fuzz(name, options.seconds) for name in names)
    print(f"fuzz: {len(names)} fuzzers, {findings} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

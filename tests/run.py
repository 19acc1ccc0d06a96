#!/usr/bin/env python3
# tests/run.py - builds and runs every test of the repository, and counts.
#
# usage: tests/run.py [part...]     none: all of them
# parts: layers docs unit capi cpp tsan sim attack memory counts fuzz exports python go java node interop matrix packages
#
# One line per program: name, outcome, time; the full output of what failed, and what begins with "note: " of what did
# not. Criterion programs, go test, Maven, node:test and pytest count each of their tests, everything else counts as one.
# A build that fails, a program that crashes, hangs or runs no test at all, and a test folder without a program are
# failures too; with CI set, so is a test that was skipped. The last line is "N passed, N failed".
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ASAN, TSAN, RELEASE = ROOT / "build/asan/tests", ROOT / "build/tsan/tests", ROOT / "build/release/tests"
PYTHON = ROOT / "build/venv/bin/python"
SIM_SEEDS, SIM_SEEDS_ASAN = int(os.environ.get("SIM_SEEDS", "2000")), 100
TIMEOUT_S = 900  # of one program; nothing here should come near it

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_init_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}

passed = failed = 0

# Where this was started in the background SIGINT is ignored, and children would inherit that; some test Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


def say(name, outcome, seconds, output=""):
    print(f"{name:<28} {outcome:<28} {seconds:7.1f} s", flush=True)
    if output:
        print("    | " + output.rstrip("\n").replace("\n", "\n    | "), flush=True)


def plain(output):
    """Without colours: Criterion and others write them into a pipe too, where an environment says CI."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


def execute(command, env=None):
    """Runs it in a process group of its own. Returns the exit code (None: took too long), the output, the seconds."""
    began = time.monotonic()
    child = subprocess.Popen(
        [str(part) for part in command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, **SANITIZERS, **(env or {})}, start_new_session=True, text=True, errors="replace")
    try:
        output, _ = child.communicate(timeout=TIMEOUT_S)
        return child.returncode, plain(output), time.monotonic() - began
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)
        output, _ = child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            return None, plain(output), time.monotonic() - began
        raise


def tally(output):
    """Passed and failed tests by what Criterion, a matrix, go test, Maven, node:test or pytest say, or None."""
    found = re.findall(r"Synthesis: Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)", output)
    if found:
        tested, passing, _, _ = map(int, found[-1])
        return passing, tested - passing
    if found := re.findall(r"^(?:interop|matrix|endurance): (\d+) passed, (\d+) failed$", output, re.M):
        return tuple(map(int, found[-1]))
    if found := re.findall(r"^--- (PASS|FAIL|SKIP): ", output, re.M):  # go test -v
        bad = ["FAIL"] + (["SKIP"] if os.environ.get("CI") else [])
        return found.count("PASS"), sum(found.count(word) for word in bad)
    if found := dict(re.findall(r"^# (pass|fail|cancelled|skipped|todo) (\d+)$", output, re.M)):  # TAP of node:test
        bad = ["fail", "cancelled"] + (["skipped", "todo"] if os.environ.get("CI") else [])
        return int(found["pass"]), sum(int(found[word]) for word in bad)
    if found := re.findall(r"Tests run: (\d+), Failures: (\d+), Errors: (\d+), Skipped: (\d+)$", output, re.M):  # Maven
        ran, failures, errors, skipped = map(int, found[-1])
        return ran - failures - errors - skipped, failures + errors + (skipped if os.environ.get("CI") else 0)
    found = re.findall(r"^(?:=+ )?((?:\d+ \w+(?:, )?)+) in [\d.]+s\b.*$", output, re.M)
    if found:
        words = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", found[-1])}
        bad = ["failed", "error", "errors", "xpassed"] + (["skipped"] if os.environ.get("CI") else [])
        return words.get("passed", 0) + words.get("xfailed", 0), sum(words.get(word, 0) for word in bad)
    return None


def run(name, command, env=None, counted=False):
    """Runs a test program and counts its tests; counted: it must say how many tests it ran."""
    global passed, failed
    code, output, seconds = execute(command, env)
    if code == 0 and not counted and (skipped := re.search(r"^.* skipped: (.*)$", output, re.M)):
        return say(name, "skipped", seconds, skipped.group(1))
    known = tally(output)
    good, bad = known if known is not None and (counted or sum(known)) else (0 if counted else int(code == 0), 0)
    trouble = ""
    if code is None:
        trouble = f"no end after {TIMEOUT_S} s"
    elif code < 0:
        trouble = f"ended by {signal.Signals(-code).name}"
    elif code > 0 and bad == 0:
        trouble = f"exit code {code}"
    elif good + bad == 0:
        trouble = "ran no test"
    elif bad == 0 and (reports := len(re.findall(r"^SUMMARY: \w+Sanitizer|(?:WARNING|ERROR) in native method", output, re.M))):
        # LeakSanitizer speaks when the process of a test ends; Criterion has counted that test as passed by then. Nor do
        # the words of java -Xcheck:jni fail a test.
        trouble = f"{reports} reports"
        good, bad = max(good - reports, 0), reports
    if trouble and bad == 0:
        bad = 1
    passed, failed = passed + good, failed + bad
    outcome = f"{good} passed" if bad == 0 else f"{good} passed, {bad} FAILED"
    notes = "\n".join(re.findall(r"^note: .*$", output, re.M))
    say(name, outcome + (f" ({trouble})" if trouble else ""), seconds, output if bad else notes)


def build(target):
    """Makes a part of the Makefile; False, and one failure counted, if that does not work."""
    global failed
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    began = time.monotonic()
    made = subprocess.run(["make", "--no-print-directory", target], cwd=ROOT, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if made.returncode != 0:
        failed += 1
    say(f"build {target}", "built" if made.returncode == 0 else "FAILED", time.monotonic() - began,
        made.stdout if made.returncode != 0 else "")
    return made.returncode == 0


def missing(name, what):
    global failed
    failed += 1
    say(name, f"FAILED ({what})", 0)


def criterion(program):
    run(program.name, [program, "--jobs", "2", "--timeout", "120", "--color", "never"], counted=True)


# ---- the parts, in order; each: what it builds, and what it runs ----
def layers():
    run("layers", [sys.executable, "tests/layers.py"])
    run("planted bugs apply", [sys.executable, "scripts/planted.py", "--check"])


def docs():
    run("docs", [sys.executable, "tests/docs.py"])


def unit():
    """Core, on mem: and virtual time, under ASan, UBSan and LeakSanitizer. One program per folder; and docs/examples."""
    for folder in ("base", "loop", "transport", "http2", "rpc", "service", "docs"):
        program = ASAN / f"unit_{folder}"
        sources = ROOT / "tests" / ("" if folder == "docs" else "unit") / folder
        if not any(sources.rglob("*_test.cc")):
            missing(program.name, f"{sources.relative_to(ROOT)} has no test")
        elif not program.exists():
            missing(program.name, "was not built")
        else:
            criterion(program)


def criterions(prefix):
    programs = [file for file in sorted(ASAN.glob(f"{prefix}_*")) if file.is_file()]
    for program in programs:
        criterion(program)
    if not programs:
        missing(prefix, f"no program build/asan/tests/{prefix}_*")


def capi():
    """The C ABI, from C, under the same sanitizers."""
    criterions("capi")


def cpp():
    """nebula.hpp, under the same sanitizers."""
    criterions("cpp")


def tsan():
    """What crosses threads, as plain programs: Criterion's own runner crashes under TSan."""
    sources = sorted((ROOT / "tests/tsan").glob("*.cc")) + sorted((ROOT / "tests/tsan").glob("*.c"))
    for source in sources:
        program = TSAN / f"tsan_{source.stem}"
        if program.exists():
            # TSan of GCC 12 does not know the memory layout that some kernels randomize into.
            fixed = ["setarch", os.uname().machine, "-R"]
            may = subprocess.run([*fixed, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
            run(program.name, [*(fixed if may else []), program])
        else:
            missing(program.name, "was not built")
    if not sources:
        missing("tsan", "no tests/tsan/*.cc")


def sim():
    """Many seeds as fast as they go, and some under the sanitizers."""
    for program, seeds, first in ((RELEASE / "sim", SIM_SEEDS, 1), (ASAN / "sim", SIM_SEEDS_ASAN, SIM_SEEDS + 1)):
        name = f"sim ({program.parent.parent.name})"
        run(name, [program, seeds, first]) if program.exists() else missing(name, "was not built")
    run("sim (an hour of churn)", [RELEASE / "sim", "--churn"])


def attack():
    """Each known attack for a second or two; `make attack` takes its time."""
    run("attack", [sys.executable, "tests/attack/attack.py", "--short"])


def memory():
    """Streams of every shape of reader, and what they cost in memory; `make bench BENCH=memory` takes its time."""
    run("memory", [sys.executable, "tests/bench/memory_bench.py", "--short"])


def counts():
    """Instructions and system calls of a request, against what was accepted."""
    run("counts", [sys.executable, "tests/bench/counts.py"])


def fuzz():
    """What the fuzzers have found before, and a few seconds of new inputs."""
    run("fuzz", [sys.executable, "tests/fuzz/run.py", "--seconds", "10"])


def exports():
    """What the library shows, and that its ABI is the one that was accepted."""
    run("exports", [sys.executable, "tests/exports.py", ROOT / "build/release/libnebula.so"])
    run("abi", [sys.executable, "tests/abi.py"])


def pytest(name, path, env=None, *chosen):
    if (ROOT / path).exists():
        command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *chosen, path]
        run(name, command, env, counted=True)
    else:
        missing(name, f"no {path}")


def preloaded():
    """The environment in which a program that is not sanitized loads a module that is. Interpreters leak at exit."""
    names = ("libasan.so", "libubsan.so", "libstdc++.so")
    files = [subprocess.check_output(["c++", f"-print-file-name={name}"], text=True).strip() for name in names]
    return {"LD_PRELOAD": " ".join(files), "ASAN_OPTIONS": SANITIZERS["ASAN_OPTIONS"] + ":detect_leaks=0"}


def python():
    pytest("python", "bindings/python/tests")
    asan = {**preloaded(), "PYTHONPATH": str(ROOT / "build/python-asan/site-packages"), "PYTHONMALLOC": "malloc"}
    pytest("python (asan)", "bindings/python/tests/test_guest.py", asan, "-m", "not forks")
    if (ROOT / "bindings/python/nebula").is_dir():
        run("python types (mypy)", [PYTHON, "-m", "mypy", "--strict", "--cache-dir", "build/mypy", "bindings/python/nebula"])


def go():
    """The Go package under the race detector, and with gRPC and Python as its peers; vet and gofmt over all of it."""
    folders = ["bindings/go", "examples/1_hello/go", "examples/3_chain/go", "bindings/go/peers"]
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
    if is_old := tuple(map(int, re.findall(r"\d+", version)[:2])) < (1, 21):
        folders.pop()  # its gRPC wants a newer Go, which one from 1.21 on would fetch
    run("go format", ["sh", "-c", f'unformatted=$(gofmt -l {" ".join(folders)}); echo "$unformatted"; test -z "$unformatted"'])
    for folder in folders:
        run(f"go vet {folder}", ["scripts/go.sh", folder, "vet", "-p", "1", "./..."])
    run("go", ["scripts/go.sh", folders[0], "test", "-race", "-p", "1", "-count=1", "-v", "."],
        {"GOMAXPROCS": "4"}, counted=True)  # two queues, on whatever machine
    if is_old:
        return say("go (peers)", "skipped", 0, "needs Go 1.21 or newer")
    run("go (peers)", ["scripts/go.sh", folders[-1], "test", "-p", "1", "-count=1", "-v", "."], counted=True)


def java():
    """The Java package under -Xcheck:jni, among Java's own gRPC and Python."""
    env = {"PKG_CONFIG_PATH": str(ROOT / "build/java/prefix/lib/pkgconfig")}
    run("java", ["mvn", "-B", "-f", "bindings/java", "test"], env, counted=True)


def node():
    """The Node package, with gRPC and Python as its peers, and its types."""
    tests = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "bindings/node/test").glob("*.test.js"))
    test = ["scripts/node.sh", "--test", "--test-reporter=tap"]
    run("node", [*test, *tests], counted=True)
    # What is left out looks at the package's files, not at the engine.
    tests = [f"build/node-asan/test/{pathlib.Path(file).name}" for file in tests]
    tests = [file for file in tests if not file.endswith(("/symbols.test.js", "/types.test.js"))]
    asan = {**preloaded(), "NODE_PATH": str(ROOT / "build/node-asan/node_modules")}
    run("node (asan)", [*test, *tests], asan, counted=True)


def interop():
    pytest("interop", "tests/interop")
    run("interop (grpc-go)", [sys.executable, "tests/interop/go/matrix.py", "--short"])
    run("interop (keepalive)", [PYTHON, "tests/interop/go/keepalive.py"])


def matrix():
    """The same cases in each language, against a server in each language."""
    run("matrix", [sys.executable, "tests/bindings/matrix.py"], counted=True)
    run("endurance", [sys.executable, "tests/bindings/endurance.py"], counted=True)


def packages():
    """Each package in an environment that has nothing else, and their sizes."""
    pytest("packages", "tests/packages")


PARTS = {
    layers: [], docs: [], unit: ["asan"], capi: ["asan"], cpp: ["asan"], tsan: ["tsan"], sim: ["build", "asan"],
    attack: ["build"], memory: ["build", "python"], counts: ["build"], fuzz: ["fuzzers"], exports: ["build"],
    python: ["python", "python-asan"], go: ["go", "python"], java: ["java", "python"], node: ["node", "node-asan", "python"],
    interop: ["build", "python"], matrix: ["matrix-programs"], packages: ["packages"],
}


def main(names):
    known = {part.__name__: part for part in PARTS}
    if unknown := [name for name in names if name not in known]:
        print(f"no part {' '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    built = {}
    for part, targets in PARTS.items():
        if names and part.__name__ not in names:
            continue
        for target in targets:
            if target not in built:
                built[target] = build(target)
        if all(built[target] for target in targets):
            part()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

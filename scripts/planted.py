#!/usr/bin/env python3
# scripts/planted.py - plants known bugs, one at a time, and sees that the tests find each of them.
#
# usage: scripts/planted.py --check        only whether the patches still apply
#        scripts/planted.py [patch...]     none: all of tests/sim/planted/*.patch and tests/bench/planted/*.patch
#
# Works on a copy of the tree in build/planted. First the copy must pass without a bug, else a failure later would prove
# nothing. A bug of sim is found when the simulation or a unit test fails, built under ASan and UBSan; one of bench when
# the counts do, as released. A patch that does not apply or does not compile is a failure of its own kind. The last
# line is "planted: N of N found".
import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TREE, BUILD = ROOT / "build/planted/tree", ROOT / "build/planted/build"
SEEDS = os.environ.get("SIM_SEEDS", "300")
ENV = {**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1"}


def sync():
    """Makes TREE the same as the working tree; what has not changed keeps its time, so that little is rebuilt."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE, text=True).stdout.split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in wanted:
        copy = TREE / name
        if not copy.exists() or not filecmp.cmp(ROOT / name, copy, shallow=False):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy)
    for file in TREE.rglob("*"):
        name = str(file.relative_to(TREE))
        if file.is_file() and name not in wanted and not name.startswith("build/"):
            file.unlink()


def run(*command, timeout=1800):
    """The exit code and what was said; a program that does not end has failed."""
    child = subprocess.Popen([str(part) for part in command], cwd=TREE, env=ENV, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    try:
        output, _ = child.communicate(timeout=timeout)
        return child.returncode, output
    except subprocess.TimeoutExpired:
        child.kill()
        return "no end", child.communicate()[0]


def build(folder, targets, *options):
    if not (folder / "build.ninja").exists():
        code, output = run("cmake", "-S", TREE, "-B", folder, "-G", "Ninja", "-DNEBULA_EXAMPLES=OFF", *options)
        if code != 0:
            return code, output
    return run("cmake", "--build", folder, "--target", *targets)


def build_sim(targets=("sim",)):
    # Without -O1 the simulation takes several times as long, which is more than to compile takes longer.
    return build(BUILD, targets, "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-g1 -O1",
                 "-DNEBULA_SANITIZE=address,undefined")


def units():
    return sorted("unit_" + folder.name for folder in (TREE / "tests/unit").iterdir())


def build_units():
    return build_sim(units())


def build_peer():
    """Where the counts of that tree look for it."""
    return build(TREE / "build/release", ["bench_nebula_peer"], "-DCMAKE_BUILD_TYPE=RelWithDebInfo")


usual_s = {}  # how long each program takes without a bug


def failing_sim():
    return failing_of([[BUILD / "tests/sim", SEEDS, "1"]])


def failing_unit():
    return failing_of([BUILD / "tests" / unit, "--jobs", "2", "--timeout", "60"] for unit in units())


def failing_of(commands):
    """The first program that fails, with its output; (None, "") if all pass. To take far longer than usual is to fail."""
    for command in commands:
        name, began = command[0].name, time.monotonic()
        code, output = run(*command, timeout=30 + 5 * usual_s[name] if name in usual_s else 1800)
        usual_s.setdefault(name, time.monotonic() - began)
        if code != 0:
            return f"{name} ({'exit code ' if isinstance(code, int) else ''}{code})", output
        # Criterion has counted a test as passed when LeakSanitizer speaks, at the end of the test's process.
        if report := re.search(r"^SUMMARY: \w+Sanitizer.*", output, re.M):
            return f"{name} ({report.group(0)})", output
    return None, ""


def failing_count():
    code, output = run(sys.executable, TREE / "tests/bench/counts.py")
    return None if code == 0 else "counts", output


# By the folder beside planted: what is built, and what may find a bug in it. What comes later is only built for what was
# not found before it.
KINDS = {"sim": [(build_sim, failing_sim), (build_units, failing_unit)], "bench": [(build_peer, failing_count)]}


def look(kind):
    """What fails in the copy (None: nothing), and the words to that."""
    for build, failing in KINDS[kind]:
        code, output = build()
        if code != 0:
            return "DOES NOT COMPILE", output
        name, words = failing()
        if name is not None:
            return f"found by {name}", words
    return None, ""


def plant(kind, patches):
    """How many of these were found; none when something fails without a bug."""
    sync()
    print(f"planted: building {kind} without a bug", flush=True)
    outcome, words = look(kind)
    if outcome is not None:
        print(f"{words}\nplanted: without a bug, {outcome}: nothing can be said")
        return 0

    found = 0
    for patch in patches:
        began = time.monotonic()
        code, words = run("patch", "-p1", "--forward", "--batch", "--fuzz=0", "-i", patch)
        outcome = "DOES NOT APPLY"
        if code == 0:
            outcome, words = look(kind)
        is_found = outcome is not None and outcome.startswith("found")
        found += is_found
        print(f"{patch.stem:<32} {outcome or 'NOT FOUND'}  {time.monotonic() - began:.0f} s", flush=True)
        if outcome is not None and not is_found:
            print(words)
        sync()
    return found


def stale(patches):
    """Those that do not apply to the working tree."""
    dry_run = ["patch", "-p1", "--dry-run", "--forward", "--batch", "--fuzz=0", "-i"]
    return [patch for patch in patches if subprocess.run([*dry_run, patch], cwd=ROOT, stdout=subprocess.DEVNULL).returncode]


def main(patches):
    is_check = patches == ["--check"]
    patches = [] if is_check else patches
    patches = [pathlib.Path(name).resolve() for name in patches] or sorted(ROOT.glob("tests/*/planted/*.patch"))
    if is_check:
        for patch in (old := stale(patches)):
            print(f"planted: {patch.relative_to(ROOT)} does not apply any more")
        return 1 if old else 0
    TREE.mkdir(parents=True, exist_ok=True)
    by_kind = {kind: [patch for patch in patches if patch.parent.parent.name == kind] for kind in KINDS}
    found = sum(plant(kind, chosen) for kind, chosen in by_kind.items() if chosen)
    print(f"planted: {found} of {len(patches)} found")
    return 0 if patches and found == len(patches) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

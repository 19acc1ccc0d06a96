#!/usr/bin/env python3
# tests/exports.py - what libnebula.so shows to others, and what it stands on.
#
# usage: tests/exports.py build/release/libnebula.so
#
# It exports what nebula.h declares and nothing else, so that it can share a process with any other library; and it needs
# the libraries listed here only. libprotobuf above all is never among them: two copies in one process abort.
import pathlib
import re
import subprocess
import sys

NEEDED = {
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
    "libstdc++.so.6", "libgcc_s.so.1",
    "libnghttp2.so.14", "libuv.so.1", "libssl.so.3", "libcrypto.so.3", "libz.so.1", "libzstd.so.1", "libsimdjson.so.14",
    "libprotobuf-c.so.1",
}
HEADER = pathlib.Path(__file__).resolve().parent.parent / "capi/nebula.h"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(library):
    problems = []
    exported = {line.split()[-1] for line in output("nm", "-D", "--defined-only", library).splitlines()}
    functions = {name.split("@")[0] for name in exported if name.startswith("nebula_")}
    nodes = {name for name in exported if re.fullmatch(r"NEBULA_\d+\.\d+", name)}
    for name in sorted(exported - nodes):
        if not name.startswith("nebula_"):
            problems.append(f"exports {name}, which is not nebula_*")
    header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    version = {name: int(number) for name, number in re.findall(r"#define NEBULA_ABI_(MAJOR|MINOR) (\d+)", header)}
    wanted = {f"NEBULA_{version['MAJOR']}.{minor}" for minor in range(version["MINOR"] + 1)}
    if nodes != wanted:
        problems.append(f"should define the version nodes {sorted(wanted)}, has {sorted(nodes) or 'none'}")

    declared = set(re.findall(r"NEBULA_API\b[^;(]*?\b(nebula_\w+)\s*\(", header))
    problems += [f"declares {name} in nebula.h, but does not export it" for name in sorted(declared - functions)]
    problems += [f"exports {name}, which nebula.h does not declare" for name in sorted(functions - declared)]

    loaded = [line.split()[0].rsplit("/", 1)[-1] for line in output("ldd", library).splitlines() if line.strip()]
    for name in loaded:
        if name not in NEEDED and not name.startswith("linux-vdso"):
            problems.append(f"needs {name}")
    if "not found" in output("ldd", library):
        problems.append("needs a library that this system does not have")

    for problem in problems:
        print(f"{library}: {problem}")
    print(f"exports: {len(functions)} functions, {' '.join(sorted(nodes))}; needs {' '.join(sorted(loaded))}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

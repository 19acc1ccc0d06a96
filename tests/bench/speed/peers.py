#!/usr/bin/env python3
# bench/speed/peers.py - fetches and builds the peers of the speed suite, into build/bench.
#
# usage: tests/bench/speed/peers.py
#
# gRPC C++ stands on Debian's packages (scripts/setup.sh peers), the Go libraries and tonic come at the versions of go.mod
# and Cargo.toml from their registries. A peer whose tools are missing is named and skipped.
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
OUT = ROOT / "build/bench"
PROTO = ROOT / "proto/bench"


def run(command, **more):
    subprocess.run([str(part) for part in command], check=True, **more)


def flags(*packages):
    return subprocess.run(["pkg-config", "--cflags", "--libs", *packages], check=True, stdout=subprocess.PIPE,
                          text=True).stdout.split()


def grpc_cpp():
    generated = OUT / "grpc"
    generated.mkdir(parents=True, exist_ok=True)
    run(["protoc", f"-I{PROTO}", f"--cpp_out={generated}", f"--grpc_out={generated}",
         f"--plugin=protoc-gen-grpc={shutil.which('grpc_cpp_plugin')}", "echo.proto"])
    run(["c++", "-std=c++17", "-O2", f"-I{generated}", HERE / "grpc_peer.cc", *generated.glob("*.cc"), "-o", OUT / "grpc_peer",
         *flags("grpc++", "protobuf")])


def go():
    run(["go", "build", "-o", OUT / "go_peer", "."], cwd=HERE / "go")


def tonic():
    run(["cargo", "build", "--release", "--quiet"], cwd=HERE / "tonic", env={**os.environ, "CARGO_TARGET_DIR": str(OUT / "tonic")})
    shutil.copy2(OUT / "tonic/release/tonic_peer", OUT / "tonic_peer")


# What is built from what, by what.
PEERS = {
    "gRPC C++": (grpc_cpp, "grpc_peer", [HERE / "grpc_peer.cc", PROTO / "echo.proto"], ["c++", "protoc", "grpc_cpp_plugin"]),
    "grpc-go, connect-go and rpcx": (go, "go_peer", [HERE / "go/main.go", HERE / "go/go.mod"], ["go"]),
    "tonic": (tonic, "tonic_peer", [*HERE.glob("tonic/**/*.rs"), HERE / "tonic/Cargo.toml"], ["cargo", "protoc"]),
}


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    failed = False
    for name, (build, program, sources, tools) in PEERS.items():
        if missing := [tool for tool in tools if shutil.which(tool) is None]:
            print(f"{name}: skipped, there is no {' and no '.join(missing)} here")
            continue
        out = OUT / program
        if out.exists() and all(out.stat().st_mtime >= source.stat().st_mtime for source in sources):
            continue
        print(f"{name}: building", flush=True)
        try:
            build()
        except subprocess.CalledProcessError as error:
            print(f"{name}: FAILED: {error}")
            failed = True
    for tool in ("h2load", "nghttpd"):
        if shutil.which(tool) is None:
            print(f"{tool}: skipped, it is not here")
    return failed


if __name__ == "__main__":
    sys.exit(main())

# interop/go/matrix.py - gRPC's interop cases between Nebula and grpc-go, both ways, plain and over TLS.
#
# usage: tests/interop/go/matrix.py [--short]        --short: a soak of 800 calls instead of 10,000
#
# Our programs are build/release/tests/interop_{server,client}; those of grpc-go are installed into build/go, at the
# version below. Prints one line per case, and last "interop: N passed, 0 failed". Without a Go toolchain that can build
# them, one line says that it was skipped; where CI is set, that is a failure.
import argparse
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
GO_BIN = ROOT / "build/go"  # two programs of one name in either folder
GRPC_GO = "v1.83.1"
OURS = {side: ROOT / f"build/release/tests/interop_{side}" for side in ("server", "client")}
CASES = (
    "empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server "
    "cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata "
    "unimplemented_method unimplemented_service rpc_soak channel_soak"
).split()
NAME = "interop.test"  # what the certificate is for
CASE_TIMEOUT_S = 300


def install_go():
    """The folder of each program of grpc-go; a string says why there is none."""
    for tool in ("go", "openssl"):
        if shutil.which(tool) is None:
            return f"there is no {tool} command"
    theirs = {}
    for side in ("server", "client"):
        folder = GO_BIN / f"{side}-{GRPC_GO}"
        theirs[side] = folder / side
        if theirs[side].exists():
            continue
        package = f"google.golang.org/grpc/interop/{side}@{GRPC_GO}"
        env = {**os.environ, "GOBIN": str(folder)}
        made = subprocess.run(["go", "install", package], env=env, capture_output=True, text=True)
        if made.returncode != 0:
            return f"go install {package}: {made.stderr.strip().splitlines()[-1]}"
    return theirs


def make_certificate(folder):
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem"]
    names = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
    subprocess.run(["openssl", "req", "-x509", *key, "-out", "cert.pem", "-days", "2", *names], cwd=folder, check=True,
                   capture_output=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(program, port, flags):
    """The server, once it accepts; ended afterwards."""
    server = subprocess.Popen([program, f"--port={port}", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program} does not accept at port {port}")
            time.sleep(0.02)
        yield
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def run_case(client, port, case, flags, short):
    """None, or what the client said."""
    command = [client, "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}", *flags]
    if case.endswith("_soak"):
        count = 800 if short else 10000 if case == "rpc_soak" else 1000
        command += [f"--soak_iterations={count}", "--soak_num_threads=8",
                    f"--soak_overall_timeout_seconds={CASE_TIMEOUT_S}",
                    "--soak_per_iteration_max_acceptable_latency_ms=5000"]
        if short:
            command += ["--soak_request_size=1000", "--soak_response_size=1000"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                              timeout=CASE_TIMEOUT_S + 10)
    except subprocess.TimeoutExpired:
        return f"no end after {CASE_TIMEOUT_S + 10} s"
    return None if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout[-2000:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    theirs = install_go()
    if isinstance(theirs, str):
        print(f"interop with grpc-go skipped: {theirs}")
        return 1 if os.environ.get("CI") else 0
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        make_certificate(folder)
        cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
        trust = ["--use_test_ca=true", f"--ca_file={cert}", f"--server_host_override={NAME}"]
        serve = {"h2c": [], "tls": ["--use_tls=true", f"--tls_cert_file={cert}", f"--tls_key_file={key}"]}
        call = {"h2c": [], "tls": ["--use_tls=true", *trust]}
        ways = {  # client, server
            "nebula -> grpc-go": (OURS["client"], theirs["server"]),
            "grpc-go -> nebula": (theirs["client"], OURS["server"]),
        }
        columns = [(way, wire) for way in ways for wire in serve]
        print(f"{'grpc-go ' + GRPC_GO:<30}" + "".join(f"{way + ' ' + wire:<24}" for way, wire in columns))
        with contextlib.ExitStack() as servers:
            ports = {}
            for way, wire in columns:
                ports[way, wire] = free_port()
                servers.enter_context(running(ways[way][1], ports[way, wire], serve[wire]))
            for case in CASES:
                print(f"{case:<30}", end="", flush=True)
                troubles = []
                for way, wire in columns:
                    began = time.monotonic()
                    trouble = run_case(ways[way][0], ports[way, wire], case, call[wire], short)
                    passed, failed = passed + (trouble is None), failed + (trouble is not None)
                    outcome = "ok" if trouble is None else "FAILED"
                    print(f"{outcome:<7}{time.monotonic() - began:6.2f} s{'':<9}", end="", flush=True)
                    if trouble is not None:
                        troubles.append(f"  {way} {wire}: {trouble}")
                print("", *troubles, sep="\n" if troubles else "", flush=True)
    print(f"interop: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

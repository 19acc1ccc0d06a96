# interop/go/matrix.py - gRPC's interop cases between Nebula and grpc-go, both ways; and what Go's tools see of Nebula.
#
# usage: tests/interop/go/matrix.py [--short]        --short: a soak of 800 calls instead of 10,000, and without buf,
#                                                    which would be one more download
#
# Our programs are in C++ (build/release/tests/interop_{server,client}) and in Python; plain and over TLS. Prints one
# line per case, and last "interop: N passed, 0 failed". Without a Go toolchain that can build the others, one line says
# that it was skipped; where CI is set, that is a failure.
import argparse
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import programs
import tools
from programs import OURS, Missing, running

CASES = (
    "empty_unary large_unary client_streaming server_streaming ping_pong empty_stream timeout_on_sleeping_server "
    "cancel_after_begin cancel_after_first_response status_code_and_message special_status_message custom_metadata "
    "unimplemented_method unimplemented_service rpc_soak channel_soak"
).split()
CASE_TIMEOUT_S = 300
WIRES = ("h2c", "tls")


class Table:
    """Prints outcomes as they come, a line for each case, and counts them."""

    passed = failed = 0

    def __init__(self, title, columns):
        self.columns = columns
        print(f"{title:<30}" + "".join(f"{' '.join(column):<19}" for column in columns))

    def line(self, case, run):
        """run(case, column) says what is wrong, None for nothing."""
        print(f"{case:<30}", end="", flush=True)
        troubles = []
        for column in self.columns:
            began = time.monotonic()
            trouble = run(case, column)
            print(f"{'FAILED' if trouble else 'ok':<7}{time.monotonic() - began:6.2f} s{'':<4}", end="", flush=True)
            if trouble:
                troubles.append(f"  {' '.join(column)}: {trouble}")
        Table.passed += len(self.columns) - len(troubles)
        Table.failed += len(troubles)
        print("", *troubles, sep="\n" if troubles else "", flush=True)


def soak_flags(case, short):
    count = 800 if short else 10000 if case == "rpc_soak" else 1000
    flags = [f"--soak_iterations={count}", "--soak_num_threads=8", f"--soak_overall_timeout_seconds={CASE_TIMEOUT_S}",
             "--soak_per_iteration_max_acceptable_latency_ms=5000"]
    return flags + (["--soak_request_size=1000", "--soak_response_size=1000"] if short else [])


def run_client(client, port, case, flags, folder):
    """None, or what the client said."""
    command = [*client, "--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}", *flags]
    try:
        done = subprocess.run(command, env=programs.environment(folder), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", timeout=CASE_TIMEOUT_S + 10)
    except subprocess.TimeoutExpired:
        return f"no end after {CASE_TIMEOUT_S + 10} s"
    return None if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout[-2000:]}"


def run_check(check):
    try:
        check()
    except (tools.Unexpected, subprocess.TimeoutExpired) as trouble:
        return str(trouble)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    short = parser.parse_args().short
    try:
        if shutil.which("openssl") is None:
            raise Missing("there is no openssl command")
        checked = [tool for tool in tools.CHECKS if not (short and tool is tools.BufCurl)]
        theirs = {name: programs.install(name) for name in ("server", "client", *(tool.program for tool in checked))}
    except Missing as missing:
        print(f"interop with grpc-go skipped: {missing}")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as servers:
        programs.make_certificate(folder)
        programs.compile_messages(folder)
        certificate = f"{folder}/cert.pem"
        pair = [f"--tls_cert_file={certificate}", f"--tls_key_file={folder}/key.pem"]
        trust = ["--use_test_ca=true", f"--ca_file={certificate}", f"--server_host_override={programs.NAME}"]
        serve = {"h2c": [], "tls": ["--use_tls=true", *pair]}
        call = {"h2c": [], "tls": ["--use_tls=true", *trust]}
        served = {"go": [theirs["server"]], **{language: ours["server"] for language, ours in OURS.items()}}
        called = {"go": [theirs["client"]], **{language: ours["client"] for language, ours in OURS.items()}}
        described = {"c++": [f"--descriptor_set={folder}/testing.pb"]}
        ports = {
            (language, wire): servers.enter_context(
                running(command, [*serve[wire], *described.get(language, [])], folder)
            )
            for language, command in served.items()
            for wire in WIRES
        }

        ways = [way for language in OURS for way in ((language, "go"), ("go", language))]
        columns = [(f"{client}->{server}", wire) for client, server in ways for wire in WIRES]
        table = Table(f"grpc-go {programs.GRPC_GO}", columns)
        for case in CASES:
            more = soak_flags(case, short) if case.endswith("_soak") else []

            def run(case, column):
                (client, server), wire = column[0].split("->"), column[1]
                return run_client(called[client], ports[server, wire], case, call[wire] + more, folder)

            table.line(case, run)

        table = Table("tools, asking a server", [(language, wire) for language in OURS for wire in WIRES])
        for tool in checked:
            for check in tools.CHECKS[tool]:

                def run(case, column):
                    asker = tool(theirs[tool.program], ports[column], certificate if column[1] == "tls" else None)
                    return run_check(getattr(asker, check))

                table.line(f"{tool.program} {check}", run)
    print(f"interop: {Table.passed} passed, {Table.failed} failed")
    return 1 if Table.failed else 0


if __name__ == "__main__":
    sys.exit(main())

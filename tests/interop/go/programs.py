# interop/go/programs.py - the programs that talk to each other: ours, in C++ and Python, and those made of Go.
#
# Those of Go are installed into build/go, each version in a folder of its own; so nothing is fetched twice, and a new
# version is one line here.
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = ROOT / "tests/interop/go"
PROTO = ROOT / "proto/grpc/testing/testing.proto"
PYTHON = ROOT / "build/venv/bin/python"
GO_BIN = ROOT / "build/go"
NAME = "interop.test"  # what the certificate is for

# Our two, by language: the command of either side.
OURS = {
    "c++": {side: [ROOT / f"build/release/tests/interop_{side}"] for side in ("server", "client")},
    "python": {side: [PYTHON, HERE / f"interop_{side}.py"] for side in ("server", "client")},
}

# Package, module, version.
GRPC_GO = "v1.83.1"
THEIRS = {
    "server": ("google.golang.org/grpc/interop/server", "google.golang.org/grpc", GRPC_GO),
    "client": ("google.golang.org/grpc/interop/client", "google.golang.org/grpc", GRPC_GO),
    "grpcurl": ("github.com/fullstorydev/grpcurl/cmd/grpcurl", "github.com/fullstorydev/grpcurl", "v1.9.4"),
    "grpc-health-probe": ("github.com/grpc-ecosystem/grpc-health-probe",) * 2 + ("v0.4.38",),
}
# From npm, which has it built: the modules that its sources need are not to be had through every Go proxy.
BUF = "1.57.0"


class Missing(Exception):
    """What is not here and cannot be made. The text says why."""


def install(name):
    """The program of that name, made if it is not there. Raises Missing."""
    if name == "buf":
        return install_buf()
    package, module, version = THEIRS[name]
    folder = GO_BIN / f"{name}-{version}"
    if (folder / name).exists():
        return folder / name
    if shutil.which("go") is None:
        raise Missing("there is no go command")
    # Within a module of its own: `go install package@version` asks for the list of all versions, which not every proxy
    # has of every module.
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go.mod").write_text(f"module interop\n\nrequire {module} {version}\n")
    env = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
    made = subprocess.run(["go", "install", package], cwd=folder, env=env, capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"go install {package} {version}: {made.stderr.strip().splitlines()[-1]}")
    return folder / name


def install_buf():
    folder = GO_BIN / f"buf-{BUF}"
    program = folder / "node_modules/.bin/buf"
    if not program.exists():
        if shutil.which("npm") is None:
            raise Missing("there is no npm command, which brings buf")
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"@bufbuild/buf@{BUF}"]
        made = subprocess.run(command, capture_output=True, text=True)
        if made.returncode != 0:
            raise Missing(f"npm install @bufbuild/buf@{BUF}: {made.stderr.strip().splitlines()[-1]}")
    return program


def compile_messages(folder):
    """Makes testing_pb2.py of the service's .proto for our Python programs, and testing.pb to describe it by."""
    command = [PYTHON, "-m", "grpc_tools.protoc", f"-I{PROTO.parent}", f"--python_out={folder}", "--include_imports",
               f"--descriptor_set_out={folder}/testing.pb", PROTO]
    subprocess.run(command, check=True)


def environment(folder):
    return {**os.environ, "PYTHONPATH": str(folder)}


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
def running(command, flags, folder):
    """Starts the server, waits until it accepts, gives its port, and ends it afterwards."""
    port = free_port()
    server = subprocess.Popen([*command, f"--port={port}", *flags], env=environment(folder), stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[-1]} does not accept at port {port}")
            time.sleep(0.02)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()

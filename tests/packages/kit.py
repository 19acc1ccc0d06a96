"""What the tests share: an environment that knows nothing of this checkout, programs, a look into libraries."""

import os
import pathlib
import re
import signal
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HELLO = ROOT / "examples/1_hello"
PACKAGES = ROOT / "build/packages"
PATIENCE = 120  # seconds; nothing here takes that long, but a download
# What glibc consists of, with its loader.
GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1",
         "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
# By these a program could find what was built here, and not what was installed.
LEADING_HERE = re.compile(r"PKG_CONFIG|LD_|PYTHON|VIRTUAL_ENV|NODE_PATH|CLASSPATH|CMAKE_|CGO_|GOFLAGS|MAKE|MFLAGS|"
                          r"NEBULA_|(C|CXX|LD)FLAGS$|CC$|CXX$")


def package(pattern):
    """The one package of a kind that `make packages` has made."""
    found = list(PACKAGES.glob(pattern))
    assert len(found) == 1, f"{pattern} in {PACKAGES}: {found}"
    return found[0]


def environment(place, **more):
    """That of a user, who has a registry of his own in this folder."""
    own = {name: value for name, value in os.environ.items() if not LEADING_HERE.match(name)}
    return {**own, "NEBULA_REGISTRY": f"host:?dir={place}/r", **more}


def output(*command, folder, env=None):
    """What a program writes, which ends well."""
    done = subprocess.run([str(part) for part in command], cwd=folder, env=env or environment(folder), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


class Service:
    """A service that runs as long as the block."""

    def __init__(self, *command, folder, env=None):
        self.process = subprocess.Popen([str(part) for part in command], cwd=folder, env=env or environment(folder),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        self._limit = threading.Timer(PATIENCE, self.process.kill)
        self._limit.start()

    def __enter__(self):
        said = []
        for line in self.process.stdout:
            said.append(line)
            if " ready " in line:
                return self
        self.__exit__(AssertionError)
        raise AssertionError("".join(said))

    def __exit__(self, kind, *_):
        """In order, as a user would end it; at once if something has failed."""
        self.process.send_signal(signal.SIGTERM if kind is None else signal.SIGKILL)
        said = self.process.stdout.read()
        code = self.process.wait()
        self.process.stdout.close()
        self._limit.cancel()
        assert kind is not None or code == 0, f"ended with {code}: {said}"

    def mapped(self):
        """The files in its memory; none may be of this checkout."""
        maps = pathlib.Path(f"/proc/{self.process.pid}/maps").read_text()
        found = re.findall(r"^(?:\S+ +){5}(/[^\n]*?)(?: \(deleted\))?$", maps, re.M)
        files = {pathlib.Path(file) for file in found}
        assert files
        assert not [file for file in files if file.is_relative_to(ROOT)]
        return files


def assert_whole(file, *shown):
    """A library that needs glibc alone, shows these names alone (regular expressions), and knows no place of ours."""
    dynamic = subprocess.check_output(["readelf", "-d", "-W", file], text=True)
    needed = set(re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic))
    assert needed <= GLIBC, f"{file} needs {needed - GLIBC}"
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    names = subprocess.check_output(["nm", "-D", "--defined-only", "--format=posix", file], text=True)
    names = {line.split()[0].split("@")[0] for line in names.splitlines()}
    others = {name for name in names if not any(re.fullmatch(pattern, name) for pattern in shown)}
    assert names and not others, f"{file} shows {others}"
    assert str(ROOT).encode() not in file.read_bytes()


def make_certificate(folder):
    """cert.pem and key.pem, for 127.0.0.1."""
    output("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
           "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem",
           folder=folder)

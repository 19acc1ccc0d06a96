# bindings/programs.py - the programs of the languages, as processes: servers that come and go, clients that take cases.
import contextlib
import json
import os
import pathlib
import selectors
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/bindings"
BUILD = ROOT / "build/matrix"
PROTO = HERE / "conformance.proto"
PYTHON = ROOT / "build/venv/bin/python"

# The command of each; `make matrix-programs` makes them.
COMMANDS = {
    "python": [PYTHON, HERE / "python/conformance.py"],
    "c++": [ROOT / "build/release/tests/conformance_cpp"],
    "c": [ROOT / "build/release/tests/conformance_c"],
    "go": [BUILD / "conformance_go"],
    "java": [HERE / "java/run.sh"],
    "node": [ROOT / "scripts/node.sh", HERE / "node/conformance.js"],
}
# What else must be there.
BUILT = {
    "java": [BUILD / "java/.done"],
    "node": [ROOT / "bindings/node/build/addon.node", ROOT / "build/node/node_modules"],
}

# Who has not done it by then is at fault: bounds, and ample for a machine that does much else.
START_S = 60  # until a server says its addresses
END_S = 30
CASE_S = 60


class Broken(Exception):
    """A program that does not do what each of them must: start, answer a case, end in order. The text says what."""


def missing(language):
    """The file that is not there of a language's program; None: it is all there."""
    return next((part for part in [*COMMANDS[language], *BUILT.get(language, [])] if not part.exists()), None)


def compile_messages():
    """Makes conformance_pb2.py for the Python program."""
    BUILD.mkdir(parents=True, exist_ok=True)
    command = [PYTHON, "-m", "grpc_tools.protoc", f"-I{HERE}", f"--python_out={BUILD}", PROTO]
    subprocess.run([str(part) for part in command], check=True)


class Program:
    """A process of a language's program. What it says to standard error lies in a file of the run's folder."""

    def __init__(self, language, arguments, folder, name):
        self.name = name
        self.log = folder / f"{name}.log"
        env = {**os.environ, "PYTHONPATH": str(BUILD), "NEBULA_REGISTRY": f"host:?dir={folder}/registry"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*map(str, COMMANDS[language]), *arguments], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, env=env)
        os.set_blocking(self.process.stdin.fileno(), False)
        self._read = b""

    def write_line(self, line, deadline):
        """Raises Broken if it is not taken by then."""
        rest = line.encode() + b"\n"
        while rest:
            self._await(self.process.stdin, selectors.EVENT_WRITE, deadline)
            try:
                rest = rest[os.write(self.process.stdin.fileno(), rest):]
            except BrokenPipeError:
                raise Broken(f"{self.name} has ended: {self.last_words()}") from None

    def read_line(self, deadline):
        """The next line of its standard output. Raises Broken."""
        parts = [self._read]
        while b"\n" not in parts[-1]:
            self._await(self.process.stdout, selectors.EVENT_READ, deadline)
            parts.append(os.read(self.process.stdout.fileno(), 1 << 16))
            if not parts[-1]:
                raise Broken(f"{self.name} has ended: {self.last_words()}")
        line, _, self._read = b"".join(parts).partition(b"\n")
        return line.decode()

    def _await(self, pipe, event, deadline):
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, event)
            if not selector.select(max(0, deadline - time.monotonic())):
                raise Broken(f"{self.name} did nothing in time; {self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-1000:] or "without a word"

    def end(self):
        """Raises Broken unless it ends in order."""
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name} did not end within {END_S} s") from None
        if code != 0:
            raise Broken(f"{self.name} ended with {code}: {self.last_words()}")

    def kill(self):
        """Ends it at once, if it has not ended. Harmless when repeated."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


class Server(Program):
    """A language's server at a url; `target` is the address in use."""

    def __init__(self, language, url, folder, name=None):
        super().__init__(language, ["serve", url], folder, name or f"server-{language}-{url.partition(':')[0]}")
        try:
            self.target = self.read_line(time.monotonic() + START_S).split()[0]
        except BaseException:
            self.kill()
            raise

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


class Client(Program):
    """A language's client of one target."""

    def __init__(self, language, target, folder, name):
        super().__init__(language, ["call", target], folder, f"client-{language}-{name}")

    def run(self, case):
        """The result of a case. Raises Broken."""
        deadline = time.monotonic() + CASE_S
        self.begin(case, deadline)
        return self.result(case, deadline)

    def begin(self, case, deadline):
        """Hands a case out. Raises Broken."""
        self.write_line(json.dumps(case), deadline)

    def result(self, case, deadline):
        """Of the case that was handed out. Raises Broken."""
        answer = self.read_line(deadline)
        try:
            result = json.loads(answer)
        except ValueError:
            raise Broken(f"{self.name} answered with no JSON: {answer[:200]}") from None
        if result.get("name") != case["name"]:
            raise Broken(f"{self.name} answered {case['name']} with the result of {result.get('name')}")
        if "broken" in result:
            raise Broken(result["broken"])
        return result

    def close(self):
        """The end of input is the end of it."""
        self.process.stdin.close()
        self.end()

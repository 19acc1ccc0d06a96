#!/usr/bin/env python3
# scripts/demo.py - the story of Nebula in a minute: services in six languages, found and called by name.
#
# usage: make demo     (or build/venv/bin/python scripts/demo.py, when all is built)
#
# Each line that it prints is something that has just happened; the times are measured. The first step that goes wrong
# is told with the output of the programs in it, and the exit code is 1. No program runs on after it, whatever happens.
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
HELLO = ROOT / "examples/1_hello"
PROGRAMS = ROOT / "build/release/examples"
CHAIN = ROOT / "examples/3_chain"
READY_S, STEP_S, BUILD_S = 60, 30, 600

# The chain: each language calls the next one. What its link needs, what makes that, and what starts it.
LINKS = {
    "python": ((), (), (sys.executable, CHAIN / "chain.py")),
    "go": (("go",), (("make", "go"), ("scripts/go.sh", "examples/3_chain/go", "build", "-o", ROOT / "build/go/chain", ".")),
           (ROOT / "build/go/chain",)),
    "java": (("java", "javac", "mvn"), (("make", "java"),), (ROOT / "scripts/java.sh", CHAIN / "Chain.java")),
    "node": (("node", "npm"), (("make", "node"),), (ROOT / "scripts/node.sh", CHAIN / "chain.js")),
    "cpp": ((), (), (PROGRAMS / "chain_cpp",)),
}


class Failed(Exception):
    pass


def require(condition, text):
    if not condition:
        raise Failed(text)


class Program:
    """A service that runs beside the demo. What it says is kept, and shown when a step fails."""

    def __init__(self, name, *command):
        self.name, self.said = name, []
        self.started = time.perf_counter()
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, env=os.environ)
        self._ready = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(line.rstrip("\n"))
            if " ready" in line:
                self._ready.set()
        self._ready.set()

    def urls(self):
        """Waits until it is ready; its addresses."""
        self._ready.wait(READY_S)
        require(self.process.poll() is None, f"{self.name} has ended, with exit code {self.process.returncode}")
        found = re.findall(r"\b(?:tcp://|unix:)\S+", "\n".join(self.said))
        require(found, f"{self.name} was not ready within {READY_S} s")
        return sorted(found)  # tcp before unix

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """In order, as Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(STEP_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end on SIGINT within {STEP_S} s") from None


def built(language):
    """Whether the link of a language can be had; else a line says why not."""
    needs, steps, _ = LINKS[language]
    for tool in needs:
        if shutil.which(tool) is None:
            print(f"chain: {language} is skipped: there is no {tool} here")
            return False
    for step in steps:
        try:
            subprocess.run([str(part) for part in step], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=BUILD_S, check=True)
        except subprocess.SubprocessError as error:
            why = ((error.stdout or "").strip().splitlines() or [str(error)])[-1]
            print(f"chain: {language} is skipped: {step[0]} {step[1]} failed: {why}")
            return False
    return True


def chain(start):
    """One request through all languages: each link calls the next one by its name, in the time that is left."""
    import nebula

    links = [language for language in LINKS if built(language)]
    programs = [start(f"chain-{language}", *LINKS[language][2], f"chain-{following}")
                for language, following in zip(links, [*links[1:], "end"])]
    for program in programs:
        program.urls()
    first = nebula.service(f"chain-{links[0]}", timeout=STEP_S, metadata={"trace": "7"})
    lines = first.ask({})
    require(len(lines) == len(links), f"the chain said {lines}")
    left = [float(re.search(r"([\d.]+) s left  trace 7$", line).group(1)) for line in lines]
    require(left == sorted(left, reverse=True) and left[0] <= STEP_S, f"the deadline grew on its way: {lines}")
    print(f"chain  {' -> '.join(links)}   OK")
    for line in lines:
        print(f"       {line}")


def client(*command):
    """Runs a client to its end; its exit code and the parts of its last line: code, reply or message, time."""
    done = subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=STEP_S)
    lines = done.stdout.splitlines()
    match = re.fullmatch(r"(\w+)  (.*)  ([\d.]+) ms", lines[-1]) if lines else None
    program = next(part.name for part in reversed(command) if isinstance(part, pathlib.Path))
    require(match, f"{program} ended with {done.returncode} and said: {(done.stdout + done.stderr).strip() or 'nothing'}")
    return done.returncode, match.group(1), match.group(2), float(match.group(3))


def stock_server(grpc, clock_pb2, clock_pb2_grpc):
    """A gRPC server that has never heard of Nebula, and its port."""

    class Clock(clock_pb2_grpc.ClockServicer):
        def Now(self, request, context):
            return clock_pb2.NowReply(utc="stock", unix_nanos=7)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2))
    clock_pb2_grpc.add_ClockServicer_to_server(Clock(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def story(programs, place):
    # The classes and the stub for Python, made from clock.proto by gRPC's own tools.
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{HELLO}", f"--python_out={place}",
                    f"--grpc_python_out={place}", str(HELLO / "clock.proto")], check=True, timeout=STEP_S)
    sys.path.insert(0, str(place))
    os.environ["PYTHONPATH"] = str(place)

    def start(name, *command):
        programs.append(Program(name, *command))
        return programs[-1]

    hello = start("hello", sys.executable, HELLO / "hello.py")
    clock = start("clock", PROGRAMS / "clock")
    print(f"hello  (python)  ready   {'   '.join(hello.urls())}")
    print(f"clock  (c)       ready   {'   '.join(clock.urls())}")

    # By name. Several calls, and the last one's time: the first has to find the service and to connect.
    _, code, reply, took = client(sys.executable, HELLO / "call_clock.py", 5)
    require(code == "OK" and reply.endswith("Z"), f"python -> demo.v1.Clock.Now: {code} {reply}")
    print(f"python -> demo.v1.Clock.Now      OK   {reply}   {took:.1f} ms")

    _, code, reply, took = client(PROGRAMS / "call_hello", "-n", 5, "Ada")
    require((code, reply) == ("OK", '"Hello Ada!"'), f"c -> hello.greet: {code} {reply}")
    print(f"c      -> hello.greet            OK   {reply}     {took:.1f} ms")

    # Stock gRPC, both ways.
    import clock_pb2
    import clock_pb2_grpc
    import grpc

    def address(program):
        return program.urls()[0].removeprefix("tcp://")

    with grpc.insecure_channel(address(hello)) as channel:
        greet = channel.unary_unary("/hello/greet", request_serializer=lambda value: json.dumps(value).encode(),
                                    response_deserializer=json.loads)
        reply = greet({"name": "Ada"}, timeout=5)
        require(reply == "Hello Ada!", f"stock grpc client -> hello: {reply!r}")
        print("stock grpc client -> hello       OK   (JSON serializer)")

    with grpc.insecure_channel(address(clock)) as channel:
        reply = clock_pb2_grpc.ClockStub(channel).Now(clock_pb2.NowRequest(), timeout=5)
        require(abs(reply.unix_nanos / 1e9 - time.time()) < 60, f"stock grpc client -> clock: {reply}")
        print("stock grpc client -> clock       OK   (protobuf stub)")

    import nebula

    server, port = stock_server(grpc, clock_pb2, clock_pb2_grpc)
    try:
        with nebula.connect(f"tcp://127.0.0.1:{port}") as stock:
            reply = stock.call("/demo.v1.Clock/Now", clock_pb2.NowRequest(), timeout=5)
        require(reply.unix_nanos == 7, f"nebula client -> stock grpc server: {reply}")
        print("nebula client -> stock grpc server   OK")
    finally:
        server.stop(None)

    # The worst death there is: no goodbye, and the caller still hears at once what is wrong.
    hello.kill()
    status, code, message, took = client(PROGRAMS / "call_hello", "Ada")
    require(status != 0 and code == "UNAVAILABLE" and "hello" in message, f"after kill -9: {code} {message}")
    print(f"kill -9 hello; c -> hello.greet  UNAVAILABLE {json.dumps(message, ensure_ascii=False)}  in {took:.1f} ms")

    # This client waits for an instance: its call goes out the moment there is one.
    with concurrent.futures.ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(client, PROGRAMS / "call_hello", "-w", "Ada")
        time.sleep(0.2)
        require(not waiting.done(), "a call that should wait for an instance did not")
        hello = start("hello", sys.executable, HELLO / "hello.py")
        _, code, reply, _ = waiting.result()
    took = (time.perf_counter() - hello.started) * 1e3
    require((code, reply) == ("OK", '"Hello Ada!"'), f"after the restart: {code} {reply}")
    print(f"hello restarted; c -> hello.greet OK after {took:.0f} ms, nothing configured")

    chain(start)

    for program in (hello, clock):
        code = program.stop()
        require(code == 0, f"{program.name} ended on SIGINT with {code}, not with 0")


def stop_on_signal(number, frame):
    raise KeyboardInterrupt


def main():
    signal.signal(signal.SIGTERM, stop_on_signal)
    sys.stdout.reconfigure(line_buffering=True)
    programs = []
    # A registry of its own, so that nothing else on this host sees these services; /tmp, as a Unix socket's path is short.
    place = pathlib.Path(tempfile.mkdtemp(prefix="nebula-", dir="/tmp"))
    os.environ["NEBULA_REGISTRY"] = f"host:?dir={place}/r"
    try:
        story(programs, place)
        print("demo: PASS")
        return 0
    except KeyboardInterrupt:
        print("demo: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        words = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        print(f"demo: FAIL: {words}")
        for program in programs:
            print(f"  {program.name} said:", *program.said or ["nothing"], sep="\n    ")
        return 1
    finally:
        for program in programs:
            with contextlib.suppress(ProcessLookupError):
                program.kill()
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

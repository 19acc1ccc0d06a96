# faults/cast.py - who is on the field: servers, clients and the registry, as processes.
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from field import address

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/faults"
PEERS = ("grpc", "rpcx")  # other frameworks, in Go
SERVERS = {
    "python": [ROOT / "build/venv/bin/python", HERE / "serve.py"],
    "c++": [ROOT / "build/release/tests/faults_serve"],
    "go": [ROOT / "build/faults/faults_go", "serve"],
    **{peer: [ROOT / "build/faults/faults_peers", peer, "serve"] for peer in PEERS},
}
CLIENTS = {
    "c++": [ROOT / "build/release/tests/faults_load"],
    "go": [ROOT / "build/faults/faults_go", "load"],
    **{peer: [ROOT / "build/faults/faults_peers", peer, "load"] for peer in PEERS},
}
START_S, END_S = 60, 30  # bounds, and ample for a machine that does much else
PORT = 7000


class Broken(Exception):
    """A program that does not do what it must: start, end in order. The text says what."""


class Process:
    def __init__(self, command, folder, name, env=None, awaits_ready=True):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=log, env={**os.environ, **(env or {})})
        self.pid = self.process.pid
        if awaits_ready:
            self.await_ready()

    def await_ready(self):
        line = self.process.stdout.readline().strip()
        if line != b"ready":
            raise Broken(f"{self.name} did not start: {self.last_words()}")

    def last_words(self):
        return self.log.read_text(errors="replace").strip()[-1000:] or "without a word"

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        """kill -9. Harmless when repeated."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def end(self, code=0):
        """Until it has ended by itself, and in order."""
        try:
            got = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"{self.name} did not end within {END_S} s") from None
        if got != code:
            raise Broken(f"{self.name} ended with {got}: {self.last_words()}")

    def rss(self):
        return int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Server(Process):
    """An instance of the service. It keeps a ledger of the calls that it has begun, over restarts too."""

    def __init__(self, field, folder, name, language, registry):
        self.language = language
        command = [*field.inside(name), *SERVERS[language], name, folder / f"{name}.ledger",
                   f"tcp://{address(name)}:{PORT}"]
        super().__init__(command, folder, name, {"NEBULA_REGISTRY": registry})

    def order(self, words):
        """"delay 200": milliseconds before each answer. "fail 1": the share of calls that end with UNAVAILABLE."""
        self.process.stdin.write(words.encode() + b"\n")
        self.process.stdin.flush()

    def terminate(self):
        self.send(signal.SIGTERM)


class Client(Process):
    """Calls at a steady rate, and long streams; writes down how each has ended."""

    def __init__(self, field, folder, name, language, registry, rate, streams, timeout_ms, policy=""):
        self.calls = folder / f"{name}.calls"
        command = [*field.inside(name), *CLIENTS[language], name, self.calls, rate, streams, timeout_ms]
        env = {"NEBULA_REGISTRY": registry, "NEBULA_POLICY": policy, "FAULTS_TARGET": registry}
        super().__init__(command, folder, name, env)

    def stop(self):
        """Begins no more calls, and waits for those that run."""
        self.process.stdin.close()
        self.end()


class RoughProxy(Process):
    """Stands before the servers, at so many ports that each is an instance to who calls."""

    FIRST_PORT, PORTS = 8000, 100

    def __init__(self, field, folder, servers):
        at = address("proxy")
        self.url = "static:" + ",".join(f"{at}:{self.FIRST_PORT + i}" for i in range(self.PORTS))
        super().__init__([*field.inside("proxy"), sys.executable, HERE / "rough.py", at, self.FIRST_PORT, self.PORTS,
                          *(f"{address(name)}:{PORT}" for name in servers)], folder, "proxy")

    def connections(self):
        """How many there have been."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())


class Registry(Process):
    """A real etcd. Its data outlives it."""

    def __init__(self, field, folder):
        self.url = f"etcd://{address('registry')}:2379/faults"
        clients, peers = f"http://{address('registry')}:2379", "http://127.0.0.1:2380"
        self.inside = field.inside("registry")
        self.command = [
            *self.inside, "etcd", "--data-dir", folder / "etcd", "--listen-client-urls", clients,
            "--advertise-client-urls", clients, "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
            "--initial-cluster", f"default={peers}", "--heartbeat-interval", "20", "--election-timeout", "200"]
        self.folder = folder
        self.start()

    def start(self):
        """Returns when it answers, with the time since when it has taken connections."""
        super().__init__(self.command, self.folder, "registry", awaits_ready=False)
        probe = [*self.inside, "/bin/bash", "-c", f"exec 3<>/dev/tcp/{address('registry')}/2379"]
        deadline = time.time() + START_S
        while subprocess.run(probe, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            if time.time() > deadline:
                raise Broken(f"etcd did not start: {self.last_words()}")
            time.sleep(0.02)
        return time.time()


class Dns(Process):
    """A real dnsmasq, in which a name has the address of every server that there is; for the peers."""

    def __init__(self, field, folder):
        at = address("registry")
        self.url = f"dns://{at}/faults.test:{PORT}"
        self.hosts = folder / "hosts"
        self.hosts.write_text("")
        folder.chmod(0o755)  # dnsmasq is somebody else
        super().__init__([*field.inside("registry"), "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null",
                          "--no-resolv", "--no-hosts", f"--addn-hosts={self.hosts}", "--local-ttl=1",
                          f"--listen-address={at}", "--bind-interfaces", "--user=root", "--pid-file="],
                         folder, "registry", awaits_ready=False)

    def add(self, name):
        line = f"{address(name)} faults.test\n"
        if line not in self.hosts.read_text():
            self.hosts.write_text(self.hosts.read_text() + line)
            self.send(signal.SIGHUP)


class Cluster:
    """Servers, clients, one registry. `with Cluster(...) as cluster:`"""

    LANGUAGES = {"s1": "c++", "s2": "go", "s3": "python", "s4": "c++", "c1": "c++", "c2": "go"}

    # `all_of`: the language of everybody, in place of those. Peers are such; their servers stand in DNS.
    def __init__(self, field, folder, rate, streams=50, timeout_ms=1000, policy="", is_rough=False, all_of=None,
                 servers=("s1", "s2", "s3"), clients=("c1", "c2")):
        self.field, self.folder, self.is_rough = field, folder, is_rough
        self.all_of, self.server_names, self.client_names = all_of, servers, clients
        self.rate, self.streams, self.timeout_ms, self.policy = rate, streams, timeout_ms, policy
        self.servers, self.clients, self.registry, self.proxy = {}, {}, None, None

    def __enter__(self):
        try:
            self.registry = (Dns if self.all_of in PEERS else Registry)(self.field, self.folder)
            for name in self.server_names:
                self.serve(name)
            if self.is_rough:
                self.proxy = RoughProxy(self.field, self.folder, self.servers)
            count = len(self.client_names)
            for name in self.client_names:
                self.clients[name] = Client(
                    self.field, self.folder, name, self.language(name), (self.proxy or self.registry).url,
                    self.rate // count, self.streams // count, self.timeout_ms, self.policy)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in [*self.clients.values(), *self.servers.values(), self.proxy, self.registry]:
            if process is not None:
                process.kill()

    def serve(self, name):
        self.servers[name] = Server(self.field, self.folder, name, self.language(name), self.registry.url)
        if self.all_of in PEERS:
            self.registry.add(name)
        return self.servers[name]

    def language(self, name):
        return self.all_of or self.LANGUAGES[name]

    def stop_calling(self):
        for client in self.clients.values():
            client.stop()


def missing(*languages):
    """The first program of these that is not there; None: all are."""
    commands = [of[language] for of in (SERVERS, CLIENTS) for language in languages if language in of]
    return next((part for command in commands for part in command
                 if isinstance(part, pathlib.Path) and not part.exists()), None)

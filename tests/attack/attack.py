#!/usr/bin/env python3
# attack/attack.py - attacks a server with what is known to knock servers over, while a victim makes its calls.
#
# usage: tests/attack/attack.py [--short] [--against nebula|nghttpd] [--server program] [row...]
#
# A line per row of attacks: growth of the server's memory (RSS), the victim's errors and the 99th percentile of its
# latency beside what it was before, connections that the server closed, PASS or FAIL with the reason. The last line is
# "attack: N passed, M failed". --short: a second or two for each row instead of ten or sixty. Every row is bounded in
# time and in bytes, goes to 127.0.0.1 only, and ends what it has started.
import argparse
import gzip
import multiprocessing
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, HELLO, PING, PRIORITY, RST, SETTINGS, WINDOW,
                    Peer, block, frame, get_head, grpc_head, headers, indexed_literal, integer, literal, message,
                    setting)

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20
VICTIM_RATE = 500  # calls a second
# Attacker, server and victim share a few cores: what the scheduler alone may cost at the 99th percentile.
P99_FLOOR_S = 0.05
CANCEL = struct.pack(">I", 8)
NO_WINDOW = setting(4, 0)


class Server:
    """The process that is attacked."""

    def __init__(self, kind, program, files=None):
        self.folder = tempfile.TemporaryDirectory()
        command = [program]
        if kind == "nghttpd":
            pathlib.Path(self.folder.name, "echo").write_bytes(b"echo")
            pathlib.Path(self.folder.name, "big").write_bytes(bytes(MIB))
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
            found = shutil.which("nghttpd", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nghttpd"
            command = [found, "--no-tls", "-a", "127.0.0.1", "-d", self.folder.name, str(self.port)]
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))) if files else None
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=limit)
        if kind != "nghttpd":
            self.port = int(re.search(r"tcp://127\.0\.0\.1:(\d+)", self.process.stdout.readline())[1])
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise SystemExit(f"{command[0]} does not listen")

    def rss(self):
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def lives(self):
        return self.process.poll() is None

    def end(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def call(peer, wants, wait_s=5.0):
    """One unary echo on a connection. True: it was answered in full."""
    stream = peer.stream()
    if wants == "nghttpd":
        peer.send(headers(stream, get_head("/echo"), end=True))
    else:
        peer.send(headers(stream, grpc_head("/attack/echo")) + message(stream, b"echo"))
    answer, end = b"", time.monotonic() + wait_s
    while time.monotonic() < end and not peer.closed:
        for kind, flags, of, payload in peer.read(0.1):
            if of != stream:
                continue
            answer += payload if kind == DATA else b""
            if flags & END_STREAM and kind in (DATA, HEADERS):
                return answer.endswith(b"echo")
            if kind == RST:
                return False
    return False


def victim(port, wants, pipe):
    """A process of its own: calls at a steady rate, until told to stop; then says how it went."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    peer, errors, times, due = Peer(port), 0, [], time.monotonic()
    while not pipe.poll(max(0.0, due - time.monotonic())):
        due = max(due + 1 / VICTIM_RATE, time.monotonic() - 0.1)
        began = time.monotonic()
        if not call(peer, wants):
            errors += 1
            peer.close()
            try:
                peer = Peer(port)
            except OSError:
                time.sleep(0.05)
        times.append(time.monotonic() - began)
    pipe.send((errors, sorted(times)))


class Victim:
    def __init__(self, server, wants):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=victim, args=(server.port, wants, theirs), daemon=True)
        self.process.start()

    def stop(self):
        """Errors, calls, p50 and p99 in seconds."""
        self.pipe.send(None)
        errors, times = self.pipe.recv() if self.pipe.poll(20) else (1, [20.0])
        self.process.join(5)
        return errors, len(times), times[len(times) // 2], times[len(times) * 99 // 100]


class Run:
    """What a row needs, and what it says: `fail` for each figure that was not reached."""

    def __init__(self, server, wants, length_s, is_short):
        self.server, self.wants, self.length_s, self.is_short = server, wants, length_s, is_short
        self.ends = time.monotonic() + length_s
        self.peers, self.closed, self.taken, self.failures, self.notes = [], 0, 0, [], []
        self.before = self.most = server.rss()

    def goes_on(self):
        self.most = max(self.most, self.server.rss())
        return time.monotonic() < self.ends and self.server.lives()

    def peer(self, **how):
        self.peers.append(Peer(self.server.port, **how))
        return self.peers[-1]

    def head(self, path="echo", more=()):
        return get_head("/" + path, more) if self.wants == "nghttpd" else grpc_head("/attack/" + path, more)

    def fail_if(self, wrong, why):
        if wrong:
            self.failures.append(why)

    def growth(self):
        self.most = max(self.most, self.server.rss())
        return self.most - self.before

    def flood(self, batch, streams_max=None, connections=10, step=50, end_s=5.0):
        """Sends batch(peer) again and again on several connections until the server ends each; with a bound of streams.
        In the long form the attacker comes back until the time is over."""
        while self._flood(batch, streams_max, connections, step, end_s) and not self.is_short and self.goes_on():
            continue

    def _flood(self, batch, streams_max, connections, step, end_s):
        peers = [self.peer() for _ in range(2 if self.is_short else connections)]
        end = time.monotonic() + min(end_s, self.length_s) if self.is_short else time.monotonic() + end_s
        open_ = list(peers)
        while open_ and time.monotonic() < end and self.server.lives():
            for peer in list(open_):
                peer.send(b"".join(batch(peer) for _ in range(step)))
                if peer.is_over():
                    open_.remove(peer)
            self.growth()
        self.closed += len(peers) - len(open_)
        self.fail_if(open_, f"{len(open_)} of {len(peers)} connections were not closed")
        taken = [(peer.goaway[0] + 1) // 2 for peer in peers if peer.goaway is not None and peer.goaway[0] < 1 << 30]
        if taken and streams_max is not None:
            self.taken = max([self.taken, *taken])
            self.fail_if(max(taken) > streams_max, f"{max(taken)} streams were taken, {streams_max} are the bound")
        self.leave(peers)
        return not self.failures

    def leave(self, peers):
        for peer in peers:
            peer.close()
            self.peers.remove(peer)

    def again(self):
        """Rounds of an attack: one in the short form, else as many as there is time for."""
        yield
        while not self.is_short and not self.failures and self.goes_on():
            yield


# ---- the rows of defences.md 1 ---------------------------------------------------------------------------------------

def rapid_reset(run):
    def batch(peer):
        stream = peer.stream()
        return headers(stream, run.head(), end=True) + frame(RST, 0, stream, CANCEL)
    run.flood(batch, streams_max=1100)


def made_you_reset(run):
    def opened(peer, end=False):
        stream = peer.stream()
        return stream, headers(stream, run.head(), end=end)

    def with_frame(kind, payload, end=False, flags=0):
        def batch(peer):
            stream, text = opened(peer, end)
            return text + frame(kind, flags, stream, payload(stream))
        return batch

    triggers = [
        with_frame(WINDOW, lambda stream: bytes(4)),
        with_frame(WINDOW, lambda stream: struct.pack(">I", 0x7FFFFFFF)),
        with_frame(PRIORITY, lambda stream: struct.pack(">I", stream) + b"\x10"),
        with_frame(PRIORITY, lambda stream: b"1234"),
        with_frame(DATA, lambda stream: b"more", end=True),
        with_frame(HEADERS, lambda stream: block([("x", "y")]), end=True, flags=END_HEADERS | END_STREAM),
    ]
    for trigger in triggers:
        run.flood(trigger, streams_max=2000, connections=3)


def continuation_flood(run):
    for payload in (b"", literal("x", "y" * 50)):
        peers = [run.peer() for _ in range(10)]
        for peer in peers:
            peer.send(frame(HEADERS, 0, peer.stream(), run.head()))
            for _ in range(20):
                peer.send(frame(CONTINUATION, 0, 1, payload))
            ends = time.monotonic() + 2
            while not peer.is_over(0.05) and time.monotonic() < ends:
                peer.send(frame(CONTINUATION, 0, 1, payload))
        over = sum(peer.closed or peer.goaway is not None for peer in peers)
        run.closed += over
        run.fail_if(over < len(peers), f"{len(peers) - over} connections with an endless head were not closed")


def bomb(run):
    """One-byte references to one field, many streams, and no window for the answers (CVE-2026-49975)."""
    sent = 0
    for _ in run.again():
        peers = [run.peer(settings=NO_WINDOW) for _ in range(2 if run.is_short else 10)]
        for peer in peers:
            for number in range(100):
                first = indexed_literal("a", "") if number == 0 else b""
                text = headers(peer.stream(), run.head() + first + integer(62, 7, 0x80) * 16_000, end=True)
                sent += len(text)
                if not peer.send(text):
                    break
            run.growth()
        run.closed += sum(peer.is_over(0.05) for peer in peers)
        run.leave(peers)
    run.notes.append(f"amplification {run.growth() / sent:.1f}")
    run.fail_if(run.growth() > 10 * sent, "memory grew by more than ten times what was sent")
    if not run.is_short:
        ends = time.monotonic() + 35
        while time.monotonic() < ends and run.server.rss() - run.before > 5 * MIB:
            time.sleep(0.5)
        run.fail_if(run.server.rss() - run.before > 5 * MIB, "not released within 35 s")


def hpack_bomb(run):
    """A large entry, referred to many times (CVE-2016-6581), and integers of endless bytes."""
    for _ in run.again():
        for peer in [run.peer() for _ in range(2 if run.is_short else 10)]:
            for number in range(20):
                first = indexed_literal("a", "x" * 3900) if number == 0 else b""
                if not peer.send(headers(peer.stream(), run.head() + first + integer(62, 7, 0x80) * 10_000, end=True)):
                    break
                run.growth()
            run.closed += peer.is_over(0.05)
            run.leave([peer])
    run.fail_if(run.growth() > 20 * MIB, "memory grew by more than 20 MiB")
    for peer in [run.peer() for _ in range(10)]:
        peer.send(headers(peer.stream(), run.head() + b"\xff" + b"\x80" * 1000 + b"\x01", end=True))
        run.closed += peer.is_over(2)
        run.fail_if(not peer.is_over(), "an endless integer did not end the connection")
    neighbour = run.peer()
    run.fail_if(not call(neighbour, run.wants), "a call on another connection failed")


def control_floods(run):
    kinds = [frame(SETTINGS, 0, 0, setting(4, 1 << 20)), frame(PING, 0, 0, b"12345678"), frame(DATA, 0, 1, b""),
             frame(WINDOW, 0, 0, struct.pack(">I", 1)), frame(PRIORITY, 0, 99, bytes(4) + b"\x10")]
    for kind in kinds:
        def batch(peer, kind=kind):
            text = headers(peer.stream(), run.head("hold")) if peer.next == 1 else b""
            return text + kind
        run.flood(batch, connections=3, step=200)
    run.fail_if(run.growth() > 5 * MIB, "memory grew by more than 5 MiB")


def zero_window(run):
    """Answers that nobody reads. 64 KiB each: what a unary handler answers is its own, and stays until it is sent."""
    peers = [run.peer(settings=NO_WINDOW, window=False) for _ in range(2)]
    for peer in peers:
        for _ in range(100):
            stream = peer.stream()
            peer.send(headers(stream, run.head("big"), end=run.wants == "nghttpd")
                      + (b"" if run.wants == "nghttpd" else message(stream, struct.pack("<I", 64 << 10))))
        peer.read(0.2)
        run.growth()
    run.fail_if(run.growth() > 20 * MIB, "memory grew by more than 20 MiB")
    if not run.is_short:
        resets, ends = 0, time.monotonic() + 40
        while resets < 200 and time.monotonic() < ends:
            resets += sum(kind == RST for peer in peers for kind, *_ in peer.read(0.5))
        run.notes.append(f"{resets} of 200 answers given up")
        run.fail_if(resets < 200, "answers that nobody takes are kept")


def tiny_header_list(run):
    peer, count = run.peer(settings=setting(6, 1)), 200 if run.is_short else 20_000
    failed = 0
    for _ in range(count):
        failed += not call(peer, run.wants)
        if not run.goes_on() or failed:
            break
    run.fail_if(failed, "a call failed")


def unread_requests(run):
    """A length of 4 GiB and no message."""
    peer, ended = run.peer(), 0
    for _ in range(100 if run.is_short else 1000):
        stream = peer.stream()
        peer.send(headers(stream, run.head()) + frame(DATA, 0, stream, b"\0\xff\xff\xff\xff" + b"x" * 10))
        ended += sum(kind == HEADERS and flags & END_STREAM != 0 for kind, flags, *_ in peer.read(0))
    for _ in range(20):
        ended += sum(kind == HEADERS and flags & END_STREAM != 0 for kind, flags, *_ in peer.read(0.05))
    run.notes.append(f"{ended} refused")
    run.fail_if(run.growth() > 5 * MIB, "memory grew by more than 5 MiB")
    run.fail_if(run.wants == "nebula" and ended < (100 if run.is_short else 1000), "not all were refused")


def zip_bombs(run):
    """Small messages that are 10 MiB inflated: some say so, some lie, some say nothing; and zstd's, at 30,000:1."""
    zeros = gzip.compress(bytes(10 * MIB))
    block = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"  # 128 KiB of one byte (RFC 8878, 3.1.1.2)
    bombs = [("gzip", zeros), ("gzip", zeros[:-4] + struct.pack("<I", 100)),
             ("zstd", b"\x28\xb5\x2f\xfd\x00\x38" + block * 79 + bytes([block[0] | 1]) + block[1:])]
    peers, count = [run.peer() for _ in range(2)], 100 if run.is_short else 1000
    refused = 0
    for encoding, bomb in bombs:
        open_ = []
        for number in range(count):
            peer = peers[number % 2]
            stream = peer.stream()
            peer.send(headers(stream, run.head(more=[("grpc-encoding", encoding)]))
                      + frame(DATA, 0, stream, b"\1" + struct.pack(">I", len(bomb)) + bomb))
            open_.append((peer, stream))
        run.growth()
        for peer, stream in open_:  # all have come, and now all are to be inflated
            peer.send(frame(DATA, END_STREAM, stream))
        wanted, ends = refused + count, time.monotonic() + 20
        while refused < wanted and time.monotonic() < ends:
            refused += sum(kind == HEADERS and flags & END_STREAM != 0
                           for peer in peers for kind, flags, *_ in peer.read(0.05))
            run.growth()
    run.notes.append(f"{refused} refused")
    run.fail_if(run.growth() > 20 * MIB, "memory grew by more than 20 MiB")
    run.fail_if(refused < len(bombs) * count, "not all were refused")


def slowloris(run):
    """Nothing at all, half a preface, half a head, half a message, a byte now and then."""
    texts = [b"", HELLO[:10], HELLO + frame(HEADERS, 0, 1, run.head()), HELLO + headers(1, run.head("echo"))[:20]]
    sockets = []
    for number in range(100 if run.is_short else 400):
        connection = socket.create_connection(("127.0.0.1", run.server.port))
        connection.sendall(texts[number % len(texts)])
        sockets.append(connection)
    end = time.monotonic() + (1.5 if run.is_short else 25)
    while time.monotonic() < end and run.server.lives():
        time.sleep(0.5)
        run.growth()
    for connection in sockets:
        connection.setblocking(False)
        try:
            while (data := connection.recv(4096)):
                pass
            run.closed += data == b""
        except BlockingIOError:
            pass
        except OSError:
            run.closed += 1
        connection.close()
    left = len(sockets) - run.closed
    run.fail_if(left > 0 and not run.is_short and run.wants == "nebula", f"{left} are still open")


def connection_flood(run):
    """More connections than the process may have descriptors; the victim keeps its own."""
    sockets, cpu = [], run.server.cpu_s()
    for _ in range(1000):
        connection = socket.socket()
        connection.settimeout(0.2)
        try:
            connection.connect(("127.0.0.1", run.server.port))
            connection.sendall(HELLO)
        except OSError:
            pass
        sockets.append(connection)
    time.sleep(1 if run.is_short else 20)
    share = (run.server.cpu_s() - cpu) / (run.length_s + 1)
    for connection in sockets:
        connection.close()
    began = time.monotonic()
    while time.monotonic() - began < 5:
        try:
            if call(run.peer(), run.wants, 1.0):
                break
        except OSError:
            pass
    took = time.monotonic() - began
    run.notes.append(f"served again after {took * 1000:.0f} ms, {share:.0%} of a processor")
    run.fail_if(took > 1, "a new connection was not served within a second")


def metadata(run):
    """Too large or malformed: the call fails, its neighbours on the same connection do not."""
    bad = [[("x", "y" * 17_000)], [("x-bin", "!!!!")], [("Upper", "x")], [("x", b"a\r\nb")], [("x", b"a\0b")],
           [("x", "y")] * 200]
    heads = [run.head("echo", more) for more in bad]
    peer = run.peer()
    for _ in range(3 if run.is_short else 50):
        for head in heads:
            stream = peer.stream()
            parts = [head[at:at + 16_000] for at in range(0, len(head), 16_000)]
            text = frame(HEADERS, END_HEADERS if len(parts) == 1 else 0, stream, parts[0])
            for number, part in enumerate(parts[1:], 2):
                text += frame(CONTINUATION, END_HEADERS if number == len(parts) else 0, stream, part)
            peer.send(text + message(stream, b"echo"))
            run.fail_if(not call(peer, run.wants), "a neighbour on the same connection failed")
    large = peer.stream()
    peer.send(headers(large, run.head("echo", [("x", "y" * 8300)])) + message(large, b"echo"))
    answers = [payload for kind, _, of, payload in peer.read(1) if kind == DATA and of == large]
    run.fail_if(run.wants == "nebula" and b"echo" not in b"".join(answers), "a head of 8.1 KiB was refused")


def path_tricks(run):
    """None but /attack/echo itself may reach the handler."""
    seed = int(os.environ.get("NEBULA_SEED", "1"))
    dice, peer, reached = random.Random(seed), run.peer(), []
    tricks = ["/", "//", "%2e", "%2f", ".", "..", ";", "?", "#", " ", "\\", "A", "%00", "/./", "/../", ";x=1", "?x=1"]
    for _ in range(500 if run.is_short else 10_000):
        path = "/attack/echo"
        for _ in range(dice.randint(1, 3)):
            at = dice.randint(0, len(path))
            path = dice.choice([path[:at] + dice.choice(tricks) + path[at:], path[:at] + path[at + 1:], path.swapcase(),
                                path[:at] + path[at:].capitalize()])
        if path == "/attack/echo":
            continue
        stream = peer.stream()
        if not peer.send(headers(stream, grpc_head(path)) + message(stream, b"echo")) or peer.closed or peer.goaway:
            peer = run.peer()
            continue
        reached += [path for kind, _, of, payload in peer.read(0) if kind == DATA and payload.endswith(b"echo")]
        if not run.goes_on():
            break
    for kind, _, _, payload in peer.read(1):
        reached += ["?"] if kind == DATA and payload.endswith(b"echo") else []
    run.fail_if(reached, f"{len(reached)} reached the handler, one is {reached[:1]}; seed {seed}")


ROWS = {1: rapid_reset, 2: made_you_reset, 3: continuation_flood, 4: bomb, 5: hpack_bomb, 6: control_floods,
        7: zero_window, 8: tiny_header_list, 9: unread_requests, 10: zip_bombs, 11: slowloris, 12: connection_flood,
        13: metadata, 14: path_tricks}
GRPC_ONLY = {10, 13, 14}


def run_row(number, options):
    server = Server(options.against, options.server, files=256 if number == 12 else None)
    try:
        length_s = 1.5 if options.short else 10
        calm = Victim(server, options.against)
        time.sleep(0.7 if options.short else 3)
        _, _, _, calm_p99 = calm.stop()
        one = Victim(server, options.against)
        time.sleep(0.2)
        run = Run(server, options.against, length_s, options.short)
        try:
            ROWS[number](run)
        except OSError as error:
            run.fail_if(True, f"{type(error).__name__}: {error}")
        time.sleep(0.3)
        growth = run.growth()
        errors, calls, p50, p99 = one.stop()
        run.fail_if(not server.lives(), "the server has died")
        run.fail_if(errors, f"the victim had {errors} errors")
        run.fail_if(calls < 50, "the victim made no calls")
        run.fail_if(p99 > max(2 * calm_p99, P99_FLOOR_S),
                    f"the victim's p99 went from {calm_p99 * 1e3:.1f} to {p99 * 1e3:.1f} ms")
        for peer in run.peers:
            peer.close()
    finally:
        server.end()
    run.notes += [f"{run.taken} streams taken"] if run.taken else []
    verdict = "PASS" if not run.failures else "FAIL: " + "; ".join(dict.fromkeys(run.failures))
    print(f"{number:>2} {ROWS[number].__name__:<18} rss +{growth / MIB:5.1f} MiB  victim {errors}/{calls} errors, "
          f"p50 {p50 * 1e3:5.2f} ms, p99 {p99 * 1e3:5.2f} ms ({p99 / calm_p99:4.1f}x)  closed {run.closed:>3}  "
          f"{verdict}{' (' + ', '.join(run.notes) + ')' if run.notes else ''}", flush=True)
    return not run.failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--against", choices=["nebula", "nghttpd"], default="nebula")
    parser.add_argument("--server", default=str(ROOT / "build/release/tests/attack_server"))
    parser.add_argument("rows", nargs="*", type=int)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    rows = [number for number in ROWS if not options.rows or number in options.rows]
    outcomes = [run_row(number, options) for number in rows if options.against == "nebula" or number not in GRPC_ONLY]
    print(f"attack: {sum(outcomes)} passed, {len(outcomes) - sum(outcomes)} failed")
    return 0 if outcomes and all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())

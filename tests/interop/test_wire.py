"""What is not gRPC, on the port of a Nebula service: it is turned away, and the service lives on."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import struct

import pytest
from kit import PATIENCE

import nebula

h2_connection = pytest.importorskip("h2.connection")
import h2.events  # noqa: E402

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.fixture
def where(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


@pytest.fixture(autouse=True)
def lives_on(nebula_url):
    yield
    with nebula.connect(nebula_url) as channel:
        assert channel.service("hello", timeout=5).greet(name="Ada") == "Hello Ada!"


def everything(sock):
    """What comes until the peer closes."""
    out = bytearray()
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            return bytes(out)
        if not part:
            return bytes(out)
        out += part


def talk(where, data):
    with socket.create_connection(where, timeout=PATIENCE) as sock:
        sock.sendall(data)
        return everything(sock)


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 1000,
        b"\xff" * 1000,
        os.urandom(4096),
        b"hello\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,  # a TLS greeting
        PREFACE + b"\xff" * 100,
        PREFACE + struct.pack(">I", 1 << 23)[1:] + b"\4\0\0\0\0\0",  # a frame of 8 MiB
        PREFACE + b"\0\0\5\4\0\0\0\0\0" + b"\0" * 5,  # SETTINGS of 5 bytes
    ],
)
def test_garbage_is_closed(where, data):
    talk(where, data)


def test_a_connection_that_says_nothing_and_leaves(where):
    for _ in range(20):
        socket.create_connection(where).close()
    with socket.create_connection(where) as sock:
        sock.sendall(PREFACE[:10])


def test_a_reset_in_the_middle(where):
    for size in (1, 24, 33, 60):
        sock = socket.create_connection(where)
        sock.sendall((PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\4\0\0\0\1\x82\x86\x84\x41")[:size])
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_http_1_is_told_what_this_port_speaks(where, method):
    connection = http.client.HTTPConnection(*where, timeout=PATIENCE)
    connection.request(method, "/hello/greet", body=b"{}" if method == "POST" else None)
    response = connection.getresponse()
    assert response.status == 505 and b"gRPC" in response.read()


class Http2:
    """A small HTTP/2 client: one request, everything that comes back."""

    def __init__(self, where):
        self.sock = socket.create_connection(where, timeout=PATIENCE)
        self.connection = h2_connection.H2Connection()
        self.connection.initiate_connection()
        self.flush()

    def flush(self):
        self.sock.sendall(self.connection.data_to_send())

    def request(self, headers, body=b"", end=True):
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, headers, end_stream=end and not body)
        if body:
            self.connection.send_data(stream, body, end_stream=end)
        self.flush()
        return stream

    def answer(self, stream):
        """(headers and trailers in one dict, body, how it ended)"""
        fields, body = {}, b""
        while True:
            data = self.sock.recv(65536)
            assert data, "the connection was closed"
            for event in self.connection.receive_data(data):
                if getattr(event, "stream_id", stream) != stream:
                    continue
                if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                    fields.update((_text(name), _text(value)) for name, value in event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.flush()
                    return fields, body, type(event).__name__
                elif isinstance(event, h2.events.ConnectionTerminated):
                    raise AssertionError(f"GOAWAY {event.error_code}")
            self.flush()

    def close(self):
        self.sock.close()


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


@pytest.fixture
def client(where):
    client = Http2(where)
    yield client
    client.close()


def headers(path="/hello/greet", **changes):
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    fields.update({f":{name[1:]}": fields.pop(name) for name in list(fields) if name.startswith("-")})
    return [(name, value) for name, value in fields.items() if value is not None]


def framed(message, flag=0):
    return struct.pack(">BI", flag, len(message)) + message


def call(client, *args, **options):
    return client.answer(client.request(*args, **options))


def test_a_call_by_hand(client):
    fields, body, how = call(client, headers(), framed(b'{"name":"Ada"}'))
    assert fields[":status"] == "200" and fields["content-type"] == "application/grpc" and fields["grpc-status"] == "0"
    assert body == framed(b'"Hello Ada!"') and how == "StreamEnded"


@pytest.mark.parametrize(
    "codec", ["application/grpc+json", "application/grpc;charset=utf-8", "application/grpc+json; x=1"]
)
def test_content_types_of_grpc_are_served_and_answered_in_kind(client, codec):
    fields, body, _ = call(client, headers(content_type=codec), framed(b"{}"))
    assert fields["grpc-status"] == "0" and body == framed(b'"Hello world!"')
    assert fields["content-type"].startswith("application/grpc") and ("+json" in fields["content-type"]) == (
        "+json" in codec
    )


@pytest.mark.parametrize("codec", ["application/json", "text/plain", "application/grpcx", "application/grpc-web", None])
def test_another_content_type_is_415_and_the_connection_lives_on(client, codec):
    fields, _, _ = call(client, headers(content_type=codec), framed(b"{}"))
    assert fields[":status"] == "415"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_an_unheard_of_codec_is_unimplemented(client):
    fields, _, _ = call(client, headers(content_type="application/grpc+msgpack"), framed(b"\x80"))
    assert fields["grpc-status"] == "12" and "application/grpc+json" in fields["grpc-message"]


def test_another_http_method_is_refused_and_the_connection_lives_on(client):
    fields, _, _ = call(client, headers(_method="GET"))
    assert fields[":status"] == "405"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_an_unknown_compression_is_unimplemented_and_the_answer_says_what_is_accepted(client):
    fields, _, _ = call(client, headers(grpc_encoding="snappy"), framed(b"\x1f\x8b", flag=1))
    assert fields["grpc-status"] == "12" and fields["grpc-accept-encoding"] == "identity,gzip,zstd"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_a_gzipped_message_is_taken_and_a_broken_one_fails_its_call_alone(client):
    fields, _, _ = call(client, headers(grpc_encoding="gzip"), framed(gzip.compress(b"{}"), flag=1))
    assert fields["grpc-status"] == "0"
    fields, _, _ = call(client, headers(grpc_encoding="gzip"), framed(gzip.compress(b"{}")[:-9], flag=1))
    assert fields["grpc-status"] == "13"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


@pytest.mark.parametrize(
    "body, codes",
    [
        (framed(b"{}", flag=1), ("13", "12")),  # compressed, says the flag, and no encoding was named
        (framed(b"{}", flag=7), ("13", "12")),
        (framed(b"{}")[:-1], ("13", "3")),  # cut
        (b"\0\0", ("13", "3")),
        (framed(b"{}") + framed(b"{}"), ("12", "13")),  # two messages to a unary method
    ],
)
def test_broken_framing_fails_its_call_alone(client, body, codes):
    fields, _, _ = call(client, headers(), body)
    assert fields["grpc-status"] in codes
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_a_length_beyond_the_limit_is_refused_before_the_bytes_come(client):
    stream = client.request(headers(), struct.pack(">BI", 0, 0xFFFFFFFF) + b"x" * 100, end=False)
    fields, _, _ = client.answer(stream)
    assert fields["grpc-status"] == "8"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_no_message_at_all_is_refused(client):
    fields, _, _ = call(client, headers())
    assert fields["grpc-status"] == "12" and "one message" in fields["grpc-message"]


@pytest.mark.parametrize("timeout", ["1", "S1", "-1S", "123456789S", "1x", "", "1.5S"])
def test_a_malformed_timeout_fails_its_call_alone(client, timeout):
    fields, _, _ = call(client, headers(grpc_timeout=timeout), framed(b"{}"))
    assert fields["grpc-status"] == "13" and "grpc-timeout" in fields["grpc-message"]
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


@pytest.mark.parametrize("timeout", ["1H", "99999999n", "5S", "5000m", "99999999H"])
def test_timeouts_in_all_units(client, timeout):
    assert call(client, headers(grpc_timeout=timeout), framed(b"{}"))[0]["grpc-status"] == "0"


def test_binary_metadata_is_read_padded_and_not(client):
    for value in ("AP8Q", "AP8=", "AP8", ""):
        assert call(client, headers(x_bin=value), framed(b"{}"))[0]["grpc-status"] == "0"


def test_too_much_metadata_fails_its_call_alone(client):
    fields, _, _ = call(client, [*headers(), *((f"k{i}", "v") for i in range(300))], framed(b"{}"))
    assert fields["grpc-status"] == "8"
    assert call(client, headers(), framed(b"{}"))[0]["grpc-status"] == "0"


def test_pings_are_answered(client):
    client.connection.ping(b"12345678")
    client.flush()
    while True:
        data = client.sock.recv(65536)
        assert data
        if any(isinstance(event, h2.events.PingAckReceived) for event in client.connection.receive_data(data)):
            break
        client.flush()

"""TLS between Nebula and others: stock gRPC (grpcio, BoringSSL), OpenSSL's s_client, Python's ssl."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
from kit import PATIENCE, Background

import nebula

grpc = pytest.importorskip("grpc")
if shutil.which("openssl") is None:
    pytest.skip("there is no openssl command", allow_module_level=True)


class Certificates:
    """An authority, and what it signs; files in one folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.authority("ca", "Test CA")
        self.authority("stranger", "Stranger")
        self.issue("server")
        self.issue("client", usage="clientAuth")

    def openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    def authority(self, name: str, subject: str) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        self.openssl("req", "-x509", *key, "-out", f"{name}.pem", "-subj", f"/CN={subject}", "-days", "2")

    def issue(
        self, name: str, by: str = "ca", days: int = 2, usage: str = "", names: str = "DNS:localhost,IP:127.0.0.1"
    ) -> None:
        """name.pem and name.key; each is replaced as a whole, the key last."""
        extensions = [f"subjectAltName={names}"] + ([f"extendedKeyUsage={usage}"] if usage else [])
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "new.key")
        added = [part for extension in extensions for part in ("-addext", extension)]
        self.openssl("req", *key, "-out", "new.csr", "-subj", f"/CN={name}", *added)
        signer = ("-CA", f"{by}.pem", "-CAkey", f"{by}.key") if by else ("-signkey", "new.key")
        more = ("-days", str(days), "-copy_extensions", "copy", "-out", "new.pem")
        self.openssl("x509", "-req", "-in", "new.csr", *signer, *more)
        for ending in ("pem", "key"):
            os.replace(self.folder / f"new.{ending}", self.folder / f"{name}.{ending}")

    def __getattr__(self, file: str) -> pathlib.Path:
        """certs.server_pem is the path of server.pem."""
        return self.folder / ".".join(file.rsplit("_", 1))

    def read(self, file: str) -> bytes:
        return (self.folder / file).read_bytes()


@pytest.fixture(scope="module")
def certs(tmp_path_factory):
    certs = Certificates(tmp_path_factory.mktemp("certs"))
    certs.issue("expired", days=-1)
    certs.issue("selfsigned", by="")
    certs.issue("foreign", by="stranger")
    certs.issue("server_only", usage="serverAuth")
    return certs


# Who is turned away, by a server that wants clients of its authority.
REFUSED = ["none", "plain", "selfsigned", "foreign", "expired", "server_only"]


def hello() -> nebula.Service:
    app = nebula.Service("hello")

    @app.rpc
    def greet(name: str = "world") -> str:
        return f"Hello {name}!"

    return app


def tls_of(certs, name: str, authorities: str = "ca") -> nebula.TLS:
    authority = certs.folder / f"{authorities}.pem" if authorities else None
    if name == "none":
        return nebula.TLS(authorities=authority)
    return nebula.TLS(certs.folder / f"{name}.pem", certs.folder / f"{name}.key", authorities=authority)


@pytest.fixture(params=[False, True], ids=["inline", "threaded"])
def nebula_server(certs, request):
    """The port of a Nebula server that takes anybody."""
    options = {"tls": nebula.TLS(certs.server_pem, certs.server_key), "threaded": request.param, "drain_timeout": 0.1}
    with Background(hello(), address="tls://127.0.0.1:0", **options) as server:
        assert server.urls[0].startswith("tls://127.0.0.1:") and "?" not in server.urls[0]
        yield int(server.urls[0].rsplit(":", 1)[1])


@pytest.fixture
def strict_nebula_server(certs):
    """One that wants a certificate."""
    tls = nebula.TLS(certs.server_pem, certs.server_key, authorities=certs.ca_pem)
    with Background(hello(), address="tls://127.0.0.1:0", tls=tls, drain_timeout=0.1) as server:
        yield int(server.urls[0].rsplit(":", 1)[1])


@pytest.fixture
def grpc_server(certs):
    """start(pair, require) -> the port of a stock server."""
    started = []

    def start(name: str = "server", require: bool = False) -> int:
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
        greet = grpc.unary_unary_rpc_method_handler(lambda data, context: b'"Hello"')
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hello", {"greet": greet}),))
        pair = [(certs.read(f"{name}.key"), certs.read(f"{name}.pem"))]
        authority = certs.read("ca.pem") if require else None
        credentials = grpc.ssl_server_credentials(pair, authority, require)
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        started.append(server)
        return port

    yield start
    for server in started:
        server.stop(None).wait()


def call_by_grpc(certs, port: int, name: str = "none") -> bytes:
    if name == "plain":
        channel = grpc.insecure_channel(f"localhost:{port}")
    else:
        own = (None, None) if name == "none" else (certs.read(f"{name}.key"), certs.read(f"{name}.pem"))
        credentials = grpc.ssl_channel_credentials(certs.read("ca.pem"), *own)
        channel = grpc.secure_channel(f"localhost:{port}", credentials)
    with channel:
        return channel.unary_unary("/hello/greet")(b"{}", timeout=5)


def call_by_nebula(certs, port: int, name: str = "none", host: str = "localhost", authorities: str = "ca"):
    if name == "plain":
        channel = nebula.connect(f"tcp://{host}:{port}")
    else:
        channel = nebula.connect(f"tls://{host}:{port}", tls=tls_of(certs, name, authorities))
    with channel:
        return channel.service("hello", timeout=5).greet()


def refusal(certs, port: int, *arguments, **options) -> str:
    with pytest.raises(nebula.Error) as caught:
        call_by_nebula(certs, port, *arguments, **options)
    assert caught.value.code == nebula.UNAVAILABLE
    assert "has 1 instance, but it cannot be reached: " in caught.value.message
    return caught.value.message


# ---- calls -----------------------------------------------------------------------------------------------------------


def test_nebula_calls_nebula(certs, nebula_server):
    assert call_by_nebula(certs, nebula_server) == "Hello world!"
    assert call_by_nebula(certs, nebula_server, host="127.0.0.1") == "Hello world!"


def test_a_stock_client_calls_nebula(certs, nebula_server):
    assert call_by_grpc(certs, nebula_server) == b'"Hello world!"'


def test_nebula_calls_a_stock_server(certs, grpc_server):
    assert call_by_nebula(certs, grpc_server()) == "Hello"


def test_large_messages_pass(certs, nebula_server):
    payload = "x" * 3_000_000
    with nebula.connect(f"tls://localhost:{nebula_server}", tls=tls_of(certs, "none")) as channel:
        for _ in range(3):
            assert channel.service("hello", timeout=PATIENCE).greet(name=payload) == f"Hello {payload}!"


def test_a_name_finds_a_tls_address(certs):
    tls = nebula.TLS(certs.server_pem, certs.server_key)
    with Background(hello(), address="tls://0.0.0.0:0", announce="hello", tls=tls, drain_timeout=0.1):
        with nebula.connect("nebula:", tls=tls_of(certs, "none")) as channel:
            assert channel.service("hello", timeout=5).greet() == "Hello world!"


def test_the_options_may_stand_in_the_address(certs):
    address = f"tls://127.0.0.1:0?cert={certs.server_pem}&key={certs.server_key}"
    with Background(hello(), address=address, drain_timeout=0.1) as server:
        with nebula.connect(f"{server.urls[0]}?ca={certs.ca_pem}&name=localhost") as channel:
            assert channel.service("hello", timeout=5).greet() == "Hello world!"


def test_files_that_do_not_do(certs):
    with pytest.raises(nebula.EngineError, match="no such file") as caught:
        nebula.connect("tls://localhost:1", tls=nebula.TLS(authorities="/none.pem"))
    assert caught.value.code == -8
    with pytest.raises(ValueError, match="tls://"):
        nebula.serve(hello(), address="tcp://127.0.0.1:0", tls=nebula.TLS(certs.server_pem, certs.server_key))
    with pytest.raises(ValueError, match="tls://"):
        nebula.connect("tcp://localhost:1", tls=nebula.TLS())


# ---- who is refused --------------------------------------------------------------------------------------------------


def test_stock_clients_with_a_good_certificate_come_in(certs, strict_nebula_server):
    assert call_by_grpc(certs, strict_nebula_server, "client") == b'"Hello world!"'
    assert call_by_nebula(certs, strict_nebula_server, "client") == "Hello world!"


@pytest.mark.parametrize("who", REFUSED)
def test_stock_clients_without_one_do_not(certs, strict_nebula_server, who):
    with pytest.raises(grpc.RpcError) as caught:
        call_by_grpc(certs, strict_nebula_server, who)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    assert call_by_grpc(certs, strict_nebula_server, "client") == b'"Hello world!"'


def test_nebula_with_a_good_certificate_comes_in(certs, grpc_server):
    assert call_by_nebula(certs, grpc_server(require=True), "client") == "Hello"


@pytest.mark.parametrize("who", REFUSED)
def test_nebula_without_one_does_not(certs, grpc_server, who):
    words = {"none": "client certificate missing", "plain": "ended before it was used"}
    message = refusal(certs, grpc_server(require=True), who)
    assert words.get(who, "the server hung up when it had seen our certificate") in message


@pytest.mark.parametrize(
    "who, words",
    [
        ("none", "client certificate missing: the server asks for one"),
        ("selfsigned", "the server does not know the authority of our certificate"),
        ("foreign", "the server does not know the authority of our certificate"),
        ("expired", "the server refuses our certificate: it is expired"),
        ("server_only", "the server refuses our certificate"),
    ],
)
def test_a_refused_client_hears_why(certs, strict_nebula_server, who, words):
    assert words in refusal(certs, strict_nebula_server, who)


@pytest.mark.parametrize(
    "who, words",
    [
        ("expired", "certificate expired on 20"),
        ("selfsigned", "certificate is self-signed"),
        ("foreign", 'signed by an unknown authority, "CN=Stranger"'),
        ("client", "certificate is not meant for servers"),
    ],
)
def test_servers_that_are_not_believed(certs, grpc_server, who, words):
    message = refusal(certs, grpc_server(who))
    assert words in message and "dial tls://localhost:" in message


def test_a_server_of_another_name(certs, grpc_server):
    port = grpc_server()
    tls = nebula.TLS(authorities=certs.ca_pem, server_name="x.test")
    with nebula.connect(f"tls://127.0.0.1:{port}", tls=tls) as channel:
        with pytest.raises(nebula.Error, match="certificate is for localhost, 127.0.0.1, not for x.test"):
            channel.service("hello", timeout=5).greet()


def test_the_system_does_not_know_our_authority(certs, grpc_server):
    assert "unknown authority" in refusal(certs, grpc_server(), authorities="")


def test_a_plain_server(certs, nebula_url):
    port = int(nebula_url.rsplit(":", 1)[1])
    assert "without a word of TLS" in refusal(certs, port)


# ---- by other means --------------------------------------------------------------------------------------------------


def s_client(certs, port: int, *arguments: str, said: str = "") -> subprocess.CompletedProcess:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(certs.ca_pem), *arguments]
    return subprocess.run(command, input=said, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(certs, nebula_server, version):
    done = s_client(certs, nebula_server, "-alpn", "h2", "-verify_return_error", version)
    assert done.returncode == 0
    assert "ALPN protocol: h2" in done.stdout and "Verify return code: 0 (ok)" in done.stdout
    assert "Compression: NONE" in done.stdout
    assert "New Session Ticket" not in done.stdout and "TLS session ticket:" not in done.stdout


@pytest.mark.parametrize("arguments", [(), ("-alpn", "http/1.1")])
def test_s_client_without_http2(certs, nebula_server, arguments):
    done = s_client(certs, nebula_server, *arguments)
    assert done.returncode != 0 and "no application protocol" in done.stderr
    assert call_by_nebula(certs, nebula_server) == "Hello world!"


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_s_client_of_another_age(certs, nebula_server, version):
    done = s_client(certs, nebula_server, "-alpn", "h2", version, "-cipher", "DEFAULT@SECLEVEL=0")
    assert done.returncode != 0 and "protocol version" in done.stderr


def test_s_client_may_not_renegotiate(certs, nebula_server):
    done = s_client(certs, nebula_server, "-alpn", "h2", "-tls1_2", said="R\n")
    assert "no renegotiation" in done.stderr
    assert call_by_nebula(certs, nebula_server) == "Hello world!"


def test_plain_http_on_the_port(certs, nebula_server):
    for text in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", nebula_server), timeout=PATIENCE) as plain:
            plain.sendall(text)
            assert plain.recv(4096) == b""
    assert call_by_nebula(certs, nebula_server) == "Hello world!"


def test_what_a_server_sees(certs):
    """The name of the address as SNI, and https as the scheme."""
    h2 = pytest.importorskip("h2.connection")
    import h2.events

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certs.server_pem, certs.server_key)
    context.set_alpn_protocols(["h2"])
    seen = {}
    context.sni_callback = lambda sock, name, _: seen.update(sni=name)

    def serve():
        raw, _ = listener.accept()
        raw.settimeout(PATIENCE)
        with context.wrap_socket(raw, server_side=True) as sock:
            connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
            connection.initiate_connection()
            sock.sendall(connection.data_to_send())
            while ":scheme" not in seen:
                for event in connection.receive_data(sock.recv(65536)):
                    if isinstance(event, h2.events.RequestReceived):
                        seen.update({name.decode(): value.decode() for name, value in event.headers})
                sock.sendall(connection.data_to_send())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        with pytest.raises(nebula.Error):
            call_by_nebula(certs, port)
        thread.join(PATIENCE)
    assert seen["sni"] == "localhost"
    assert (seen[":scheme"], seen[":authority"]) == ("https", f"localhost:{port}")


# ---- rotation --------------------------------------------------------------------------------------------------------


def test_a_certificate_is_rotated_under_load(tmp_path):
    """Old connections and new ones, a pair that is half written for a moment: no call fails."""
    certs = Certificates(tmp_path)
    trusted = tls_of(certs, "none")
    counts = {"old": 0, "new": 0}

    async def call_on(channel, kind):
        await channel.call("/hello/greet", {}, timeout=PATIENCE)
        counts[kind] += 1

    async def stay(url, end):
        async with nebula.connect(url, tls=trusted) as channel:
            while time.monotonic() < end:
                await call_on(channel, "old")

    async def come_and_go(url, end):
        while time.monotonic() < end:
            async with nebula.connect(url, tls=trusted) as channel:
                await call_on(channel, "new")

    async def main(url):
        end = time.monotonic() + 4.5
        calls = [asyncio.ensure_future(kind(url, end)) for kind in (stay, stay, come_and_go, come_and_go)]
        for turn in range(2):
            await asyncio.sleep(1.1)
            await asyncio.to_thread(certs.issue, "next", names=f"DNS:localhost,DNS:turn{turn}.test")
            os.replace(certs.next_pem, certs.server_pem)
            await asyncio.sleep(0.3)  # the pair does not match now
            os.replace(certs.next_key, certs.server_key)
        await asyncio.gather(*calls)

    tls = nebula.TLS(certs.server_pem, certs.server_key)
    with Background(hello(), address="tls://127.0.0.1:0", tls=tls, drain_timeout=0.1) as server:
        port = int(server.urls[0].rsplit(":", 1)[1])
        asyncio.run(main(f"tls://localhost:{port}"))
        shown = s_client(certs, port, "-alpn", "h2").stdout
    assert counts["old"] > 100 and counts["new"] > 100, counts
    command = ["openssl", "x509", "-noout", "-ext", "subjectAltName"]
    assert "turn1.test" in subprocess.run(command, input=shown, capture_output=True, text=True).stdout

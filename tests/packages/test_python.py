"""The wheel, in an environment that has nothing else."""

import re
import sys

import pytest
from kit import HELLO, Service, assert_whole, environment, make_certificate, output, package

GREET = "import nebula; print(nebula.service('hello', timeout=10).greet(name='Ada'))"


@pytest.fixture(scope="module")
def python(place):
    """That of the environment. Nothing is fetched for it, and no compiler is in reach."""
    output(sys.executable, "-m", "venv", "venv", folder=place)
    python = place / "venv/bin/python"
    output(python, "-m", "pip", "install", "-q", "--no-index", package("nebula-*.whl"), folder=place,
           env=environment(place, PATH=str(python.parent)))
    return python


def test_hello(python, place):
    with Service(python, HELLO / "hello.py", folder=place) as hello:
        native = [file for file in hello.mapped() if file.name.startswith("_nebula.")]
        assert len(native) == 1 and native[0].is_relative_to(place / "venv")
        assert_whole(native[0], "PyInit__nebula")
        assert output(python, "-c", GREET, folder=place) == "Hello Ada!\n"


def test_its_name_tells_the_glibc_that_it_needs():
    assert int(re.search(r"manylinux_2_(\d+)_", package("nebula-*.whl").name).group(1)) <= 36


def test_tls_beside_the_interpreters_own(python, place):
    make_certificate(place)
    said = output(python, "-c", """
import asyncio, ssl
import nebula

ssl.create_default_context()  # that of the system is in this process, too
app = nebula.Service("safe")

@app.rpc
def greet(name: str) -> str:
    return f"Hello {name}!"

async def main():
    async with nebula.serve(app, address="tls://127.0.0.1:0", tls=nebula.TLS("cert.pem", "key.pem")) as server:
        channel = nebula.connect(server.urls[0], tls=nebula.TLS(authorities="cert.pem"))
        print(await channel.service("safe", timeout=10).greet(name="Ada"))

asyncio.run(main())
""", folder=place)
    assert said == "Hello Ada!\n"

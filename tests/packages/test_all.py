"""What holds for all packages: how large they are, against what is promised, and the licences in them."""

import gzip
import subprocess
import tarfile
import zipfile

import pytest
from kit import package

PACKAGES = {"wheel": "nebula-*.whl", "npm": "nebula-*.tgz", "jar": "nebula-*.jar", "go": "nebula-go-*.zip",
            "c": "nebula-*-linux-*.tar.gz"}
MB = 1_000_000


@pytest.fixture
def own(installed, place):
    """The engine as `make install` has it, without the libraries that it needs."""
    subprocess.run(["strip", "-o", place / "own.so", installed / "lib/libnebula.so"], check=True)
    return place / "own.so"


def test_sizes(capsys, own, prefix):
    whole = (prefix / "lib/libnebula.so").resolve().read_bytes()
    sizes = {
        "engine alone": (own.stat().st_size, 2.5 * MB),
        "with its libraries": (len(whole), 8 * MB),
        "that compressed": (len(gzip.compress(whole)), 3 * MB),
        **{name: (package(pattern).stat().st_size, 10 * MB) for name, pattern in PACKAGES.items()},
    }
    said = ", ".join(f"{name} {size / MB:.2f} (<= {bound / MB:g})" for name, (size, bound) in sizes.items())
    with capsys.disabled():
        print(f"\nnote: MB of {said}")
    assert not {name for name, (size, bound) in sizes.items() if size > bound}


def contents(file):
    """The files of a package, by the last parts of their names."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return {name.rsplit("/", 1)[-1]: archive.read(name) for name in archive.namelist()}
    with tarfile.open(file) as archive:
        files = [member for member in archive if member.isfile()]
        return {file.name.rsplit("/", 1)[-1]: archive.extractfile(file).read() for file in files}


@pytest.mark.parametrize("kind", PACKAGES)
def test_the_licences_of_all_that_is_inside(kind):
    files = contents(package(PACKAGES[kind]))
    assert b"Apache License" in files["LICENSE"]
    for name in (b"libuv", b"libnghttp2", b"libssl", b"zlib", b"libzstd", b"libsimdjson", b"libprotobuf-c", b"gcc"):
        assert b"==== " + name in files["NOTICES"]

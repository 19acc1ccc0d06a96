"""What a package is unpacked into: folders far from the checkout, which are gone afterwards."""

import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from kit import ROOT, output, package


@pytest.fixture(scope="module")
def place():
    """An empty folder. Its path is short, for those of Unix sockets must be."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="neb-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def prefix(place):
    """The archive for C and C++, unpacked."""
    (place / "c").mkdir()
    output("tar", "-xzf", package("nebula-*-linux-*.tar.gz"), folder=place / "c")
    return next((place / "c").iterdir())


@pytest.fixture(scope="module")
def installed(place):
    """What `make install` has put somewhere."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    subprocess.run(["make", "-s", "install", f"PREFIX={place}/installed"], cwd=ROOT, env=own, check=True,
                   stdout=subprocess.DEVNULL)
    return place / "installed"

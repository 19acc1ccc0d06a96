"""The native module and the header agree."""

import enum
import pathlib
import re

import pytest

import nebula
from nebula import _nebula

HEADER = pathlib.Path(__file__).parents[3] / "capi" / "nebula.h"


def constants_of_the_header():
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = {name: int(value) for name, value in re.findall(r"#define NEBULA_(ABI_\w+) (\d+)", text)}
    for body in re.findall(r"enum \{(.*?)\};", text, flags=re.DOTALL):
        for item in filter(None, (part.strip() for part in body.split(","))):
            name, value = re.fullmatch(r"NEBULA_(\w+)\s*=\s*(-?\d+)", item).groups()
            found[name] = int(value)
    return found


@pytest.mark.skipif(not HEADER.exists(), reason="needs the repository")
def test_every_constant_of_the_header_is_in_the_module_and_no_other():
    native = {name: getattr(_nebula, name) for name in dir(_nebula) if name.isupper()}
    assert native == constants_of_the_header()


def test_the_codes_are_those_of_the_engine():
    assert issubclass(nebula.Code, enum.IntEnum) and len(nebula.Code) == 17
    for code in nebula.Code:
        assert getattr(_nebula, code.name) == code
        if code:
            assert getattr(nebula, code.name) is code


def test_the_package_and_the_engine_have_one_version():
    from importlib.metadata import version

    assert nebula.__version__ == version("nebula") == "0.1.0"
    assert _nebula.abi() == _nebula.ABI_MAJOR << 16 | _nebula.ABI_MINOR
    assert _nebula.strerror(_nebula.E_STALE).startswith("NEBULA_E_STALE")

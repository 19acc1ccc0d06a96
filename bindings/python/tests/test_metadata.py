"""Names and values beside a message."""

import pytest

import nebula
from nebula.metadata import Metadata, pack, unpack


def test_what_is_packed_is_unpacked():
    pairs = [("a", "1"), ("key-bin", b"\x00\xff"), ("a", "2"), ("empty", ""), ("empty-bin", b"")]
    assert list(unpack(pack(pairs))) == pairs
    assert unpack(pack({"a": "1"})) == Metadata([("a", "1")])
    assert pack(None) is pack({}) is pack([]) is None
    assert unpack(b"") == Metadata()


def test_values_are_found_by_name():
    metadata = Metadata([("a", "1"), ("a", "2")])
    assert metadata.get("a") == "1" and metadata.get_all("a") == ["1", "2"]
    assert metadata.get("b") is None and metadata.get("b", "x") == "x" and metadata.get_all("b") == []


@pytest.mark.parametrize(
    "pair, error",
    [
        (("A", "1"), ValueError),
        (("", "1"), ValueError),
        (("a b", "1"), ValueError),
        (("grpc-status", "0"), ValueError),
        (("grpc-retry-pushback-ms2", "0"), ValueError),
        (("nebula-retries-left", "0"), ValueError),
        (("a", "ü"), ValueError),
        (("a", "x\n"), ValueError),
        (("a", b"1"), TypeError),
        (("a-bin", "1"), TypeError),
        (("a", 1), TypeError),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(pair, error):
    with pytest.raises(error, match="metadata"):
        pack([pair])


def test_an_error_has_code_message_and_metadata():
    error = nebula.Error(nebula.NOT_FOUND, "no order 7", {"order": "7"})
    assert (error.code, error.message, error.metadata.get("order")) == (nebula.NOT_FOUND, "no order 7", "7")
    assert str(error) == "NOT_FOUND: no order 7" and str(nebula.Error(14)) == "UNAVAILABLE"
    with pytest.raises(ValueError):
        nebula.Error(0, "fine")
    with pytest.raises(ValueError):
        nebula.Error(17, "what")
    with pytest.raises(ValueError):
        nebula.Error(5, "", {"grpc-status": "0"})

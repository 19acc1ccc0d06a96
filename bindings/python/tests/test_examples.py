"""The examples do what their README says."""

import pathlib

import pytest

EXAMPLES = pathlib.Path(__file__).parents[3] / "examples"


@pytest.mark.skipif(not EXAMPLES.exists(), reason="needs the repository")
def test_a_filter_on_each_side(program):
    code, out, _ = program((EXAMPLES / "1_hello/filter.py").read_text()).end()
    assert (code, out) == (0, "UNAUTHENTICATED: who are you?\nHello Ada!\n")


@pytest.mark.skipif(not EXAMPLES.exists(), reason="needs the repository")
def test_streams(program):
    room = program((EXAMPLES / "2_stream/room.py").read_text())
    assert room.line().startswith("room  (python)  ready")
    guest = program((EXAMPLES / "2_stream/guest.py").read_text())
    said = "3\n2\n1\nHello? Tell me more.\nI am Ada? Tell me more.\n"
    assert guest.end() == (0, said, "")
    room.send(15)
    assert room.end()[0] == 0

"""Fixtures of the Python binding's tests; what they are made of is in kit.py."""

import pathlib

import pytest
from kit import Background, Program, message_classes


@pytest.fixture
def program():
    started = []

    def start(source, *args, env=None):
        started.append(Program(source, *args, env=env))
        return started[-1]

    yield start
    for each in started:
        each.kill()


@pytest.fixture
def serving():
    """serving(app, ...) -> a running nebula.Server on a loop of its own."""
    running = []

    def start(*services, **options):
        # A client that sits idle in this test's thread does not hear that it should leave.
        background = Background(*services, **{"drain_timeout": 0.1, **options})
        server = background.__enter__()
        running.append(background)
        return server

    yield start
    for background in reversed(running):
        background.__exit__()


@pytest.fixture(scope="session")
def shop():
    """The message classes of tests/shop.proto."""
    return message_classes(pathlib.Path(__file__).with_name("shop.proto"))[0]

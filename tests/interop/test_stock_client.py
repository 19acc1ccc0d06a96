"""A stock gRPC client (grpcio) calls a Nebula service."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from kit import PATIENCE

grpc = pytest.importorskip("grpc")
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel, stubs):
    return stubs.EchoStub(channel)


def as_json(channel, path="/hello/greet"):
    return channel.unary_unary(
        path, request_serializer=lambda value: json.dumps(value).encode(), response_deserializer=json.loads
    )


def test_json_by_a_serializer(channel):
    assert as_json(channel)({"name": "Ada"}, timeout=5) == "Hello Ada!"
    assert as_json(channel)({}, timeout=5) == "Hello world!"


def test_protobuf_by_a_stub(stub, echo):
    reply = stub.Say(echo.EchoRequest(text="Grüße 🎉", payload=bytes(range(256))), timeout=5)
    assert reply == echo.EchoReply(text="Grüße 🎉", payload=bytes(range(256)))


def test_an_empty_message(stub, echo):
    assert stub.Say(echo.EchoRequest(), timeout=5) == echo.EchoReply()


def test_grpc_aio(address, stubs, echo):
    async def main():
        async with grpc.aio.insecure_channel(address) as channel:
            stub = stubs.EchoStub(channel)
            replies = await asyncio.gather(
                *(stub.Say(echo.EchoRequest(text=str(i)), timeout=PATIENCE) for i in range(500))
            )
            return [reply.text for reply in replies]

    assert asyncio.run(main()) == [str(i) for i in range(500)]


def test_metadata_both_ways(stub, echo, notes):
    sent = (
        ("a", "1"),
        ("a", "2"),
        ("key-bin", b"\x00\x01\xfe\xff"),
        ("empty-bin", b""),
        ("text", "with, comma and = sign"),
    )
    reply, call = stub.Say.with_call(echo.EchoRequest(text="x"), metadata=sent, timeout=5)
    seen = [pair for pair in notes.metadata if pair[0] in ("a", "key-bin", "empty-bin", "text")]
    assert seen == list(sent)
    assert (
        dict(call.initial_metadata())["first"] == "1" and dict(call.initial_metadata())["first-bin"] == b"\x00\xff\x10"
    )
    trailers = [tuple(pair) for pair in call.trailing_metadata()]
    assert [value for name, value in trailers if name == "last"] == ["2", "3"] and ("last-bin", b"\xff\x00") in trailers


@pytest.mark.parametrize("message", ["plain", "keine № 7, 100% sicher", "a\nb\tc\x01", "%41 is not A", "🎉" * 50, ""])
@pytest.mark.parametrize("code", [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS])
def test_status_and_message(stub, echo, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        stub.Say(echo.EchoRequest(status=code.value[0], message=message), timeout=5)
    assert (caught.value.code(), caught.value.details()) == (code, message)
    assert ("last", "2") in [tuple(pair) for pair in caught.value.trailing_metadata()]


def test_every_code_arrives(stub, echo):
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        with pytest.raises(grpc.RpcError) as caught:
            stub.Say(echo.EchoRequest(status=code.value[0], message="m"), timeout=5)
        assert caught.value.code() == code


def test_the_deadline_travels_and_is_kept_on_both_sides(stub, echo, notes):
    stub.Say(echo.EchoRequest(), timeout=30)
    assert 25 < notes.left < 31  # grpcio rounds up
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        stub.Wait(echo.EchoRequest(), timeout=0.2)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED and time.monotonic() - began < 2
    assert notes.cancelled.wait(PATIENCE)


def test_no_deadline_is_none(stub, echo, notes):
    stub.Say(echo.EchoRequest())
    assert notes.left is None


def test_cancelling_reaches_the_handler(stub, echo, notes):
    call = stub.Wait.future(echo.EchoRequest())
    assert notes.began.wait(PATIENCE)
    call.cancel()
    assert notes.cancelled.wait(PATIENCE)


def test_a_client_that_leaves_cancels_its_calls(address, stubs, echo, notes):
    channel = grpc.insecure_channel(address)
    call = stubs.EchoStub(channel).Wait.future(echo.EchoRequest())
    assert notes.began.wait(PATIENCE)
    channel.close()
    assert notes.cancelled.wait(PATIENCE) and call.code() == grpc.StatusCode.CANCELLED


def test_a_request_over_the_limit_fails_alone(stub, echo):
    for size, fits in ((4_000_000, True), (5_000_000, False), (64_000_000, False), (1, True)):
        request = echo.EchoRequest(payload=b"x" * size)
        if fits:
            assert len(stub.Say(request, timeout=PATIENCE).payload) == size
        else:
            with pytest.raises(grpc.RpcError) as caught:
                stub.Say(request, timeout=PATIENCE)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_large_answer_arrives_whole(address, stubs, echo):
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        reply = stubs.EchoStub(channel).Say(echo.EchoRequest(answer_size=20_000_000), timeout=PATIENCE)
        assert len(reply.payload) == 20_000_000


def test_large_metadata_passes_and_larger_fails_alone(stub, echo, notes):
    stub.Say(echo.EchoRequest(), metadata=(("big", "x" * 7_000),), timeout=5)
    assert len(notes.metadata.get("big")) == 7_000
    with pytest.raises(grpc.RpcError) as caught:
        stub.Say(echo.EchoRequest(), metadata=(("big", "x" * 40_000),), timeout=5)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert stub.Say(echo.EchoRequest(text="a"), timeout=5).text == "a"


@pytest.mark.parametrize("path", ["/interop.v1.Echo/Nope", "/nobody/say", "/interop.v1.Echo/", "/hello/greet/more"])
def test_an_unknown_method_is_unimplemented(channel, path):
    with pytest.raises(grpc.RpcError) as caught:
        as_json(channel, path)({}, timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("body", [b"\xff\xff\xff\xff", b"\x0a\x7f"])
def test_malformed_protobuf_is_an_invalid_argument(channel, body):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/interop.v1.Echo/Say")(body, timeout=5)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_malformed_json_is_an_invalid_argument_and_names_the_field(channel):
    for body, text in (
        (b"{", "malformed JSON"),
        (b'{"nmae":"Ada"}', 'has no field "nmae" (fields: name); did you mean "name"?'),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/hello/greet")(body, timeout=5)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT and text in caught.value.details()


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "hello", "interop.v1.Echo"):
        assert (
            health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status
            == health_pb2.HealthCheckResponse.SERVING
        )
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=5)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_request_of_another_compression_is_unimplemented_and_says_what_is_accepted(address, stubs, echo):
    with grpc.insecure_channel(address, compression=grpc.Compression.Deflate) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            stubs.EchoStub(channel).Say(echo.EchoRequest(text="a" * 10_000), timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    # grpcio keeps grpc-accept-encoding to itself; test_wire.py looks at it.


def test_many_calls_on_one_connection(stub, echo):
    calls = [stub.Say.future(echo.EchoRequest(text=str(i)), timeout=PATIENCE) for i in range(2_000)]
    assert [call.result().text for call in calls] == [str(i) for i in range(2_000)]


def test_a_stream_to_a_unary_method_fails_and_the_connection_lives_on(channel, stub, echo):
    many = channel.stream_unary("/interop.v1.Echo/Say", request_serializer=echo.EchoRequest.SerializeToString)
    with pytest.raises(grpc.RpcError) as caught:
        many(iter([echo.EchoRequest(), echo.EchoRequest()]), timeout=5)
    assert caught.value.code() in (
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.INVALID_ARGUMENT,
    )
    assert stub.Say(echo.EchoRequest(text="a"), timeout=5).text == "a"

"""Stock clients of grpc.reflection and grpc.health.v1 ask a Nebula server."""

from __future__ import annotations

import asyncio

import pytest
from kit import PATIENCE

import nebula

grpc = pytest.importorskip("grpc")
from google.protobuf import descriptor_pool, message_factory  # noqa: E402
from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # noqa: E402
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (  # noqa: E402
    ProtoReflectionDescriptorDatabase,
)


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


def test_all_services_are_listed(channel):
    names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"hello", "interop.v1.Echo", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= names


def test_a_method_is_called_without_stubs(channel):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("interop.v1.Echo").methods_by_name["Say"]
    request = message_factory.GetMessageClass(method.input_type)(text="found by asking")
    reply = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )(request, timeout=PATIENCE)
    assert reply.text == "found by asking"


def test_what_is_not_there_is_an_answer_not_an_end(channel):
    ask = reflection_pb2.ServerReflectionRequest
    questions = [ask(file_containing_symbol="no.Such"), ask(file_by_filename="no.proto"), ask(list_services="")]
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    answers = list(stub.ServerReflectionInfo(iter(questions), timeout=PATIENCE))
    assert [answer.error_response.error_code for answer in answers] == [5, 5, 0]
    assert [answer.original_request for answer in answers] == questions


def test_both_versions_answer_the_same(channel):
    def answer(version):
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=None,
        )
        question = reflection_pb2.ServerReflectionRequest(file_containing_symbol="interop.v1.Echo")
        return list(call(iter([question]), timeout=PATIENCE))

    assert answer("v1") == answer("v1alpha") != []


def test_health_is_watched_until_the_end(echo):
    app = nebula.Service("watched")
    app.rpc(lambda: None, name="nothing")

    async def main():
        async with nebula.serve(app, "tcp://127.0.0.1:0") as server:
            address = server.urls[0].removeprefix("tcp://")
            async with grpc.aio.insecure_channel(address) as channel:
                watch = health_pb2_grpc.HealthStub(channel).Watch(
                    health_pb2.HealthCheckRequest(service="watched"), timeout=PATIENCE
                )
                states = [(await watch.read()).status]
                server.set_health(False, "watched")
                states.append((await watch.read()).status)
                server.set_health(True, "watched")
                states.append((await watch.read()).status)
                await server.drain(PATIENCE)  # which the watch does not hold up
                states.append((await watch.read()).status)
                return states, await watch.code()

    states, code = asyncio.run(main())
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert states == [serving, not_serving, serving, not_serving]
    assert code == grpc.StatusCode.UNAVAILABLE

# interop/go/interop_server.py - grpc.testing.TestService on the Python binding, for anybody's interop client.
#
# usage: interop_server.py --port=N [--use_tls=true --tls_cert_file=F --tls_key_file=F]      ends with SIGTERM
#
# PYTHONPATH has testing_pb2, which matrix.py makes of proto/grpc/testing/testing.proto.
import argparse
import asyncio
from collections.abc import AsyncIterator
from typing import Optional

from testing_pb2 import (
    EchoStatus,
    Empty,
    Payload,
    SimpleRequest,
    SimpleResponse,
    StreamingInputCallRequest,
    StreamingInputCallResponse,
    StreamingOutputCallRequest,
    StreamingOutputCallResponse,
)

import nebula

ECHO_INITIAL, ECHO_TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
ASLEEP = "interop.asleep"  # a service that is there and does not serve, for those who ask after its health

app = nebula.Service("grpc.testing.TestService")


def echo_metadata(context: nebula.Context) -> None:
    if (value := context.metadata.get(ECHO_INITIAL)) is not None:
        context.send_initial_metadata({ECHO_INITIAL: value})
    if (value := context.metadata.get(ECHO_TRAILING)) is not None:
        context.set_trailing_metadata({ECHO_TRAILING: value})


def obey(status: EchoStatus) -> None:
    if status.code:
        raise nebula.Error(status.code, status.message)


def zeros(size: int) -> Payload:
    if size < 0:
        raise nebula.Error(nebula.INVALID_ARGUMENT, "a payload of less than no bytes was asked for")
    return Payload(body=bytes(size))


@app.rpc(name="EmptyCall")
async def empty_call(request: Empty) -> Empty:
    return Empty()


@app.rpc(name="UnaryCall")
async def unary_call(request: SimpleRequest, context: nebula.Context) -> SimpleResponse:
    echo_metadata(context)
    obey(request.response_status)
    return SimpleResponse(payload=zeros(request.response_size))


@app.rpc(name="StreamingOutputCall")
async def streaming_output_call(request: StreamingOutputCallRequest) -> AsyncIterator[StreamingOutputCallResponse]:
    for parameters in request.response_parameters:
        await asyncio.sleep(parameters.interval_us / 1e6)
        yield StreamingOutputCallResponse(payload=zeros(parameters.size))


@app.rpc(name="StreamingInputCall")
async def streaming_input_call(requests: AsyncIterator[StreamingInputCallRequest]) -> StreamingInputCallResponse:
    return StreamingInputCallResponse(aggregated_payload_size=sum([len(each.payload.body) async for each in requests]))


@app.rpc(name="FullDuplexCall")
async def full_duplex_call(
    requests: AsyncIterator[StreamingOutputCallRequest], context: nebula.Context
) -> AsyncIterator[StreamingOutputCallResponse]:
    echo_metadata(context)
    async for request in requests:
        obey(request.response_status)
        async for response in streaming_output_call(request):
            yield response


@app.rpc(name="HalfDuplexCall")
async def half_duplex_call(
    requests: AsyncIterator[StreamingOutputCallRequest],
) -> AsyncIterator[StreamingOutputCallResponse]:
    for request in [each async for each in requests]:
        async for response in streaming_output_call(request):
            yield response


async def serve(address: str, tls: Optional[nebula.TLS]) -> None:
    async with nebula.serve(app, address=address, tls=tls) as server:
        server.set_health(False, ASLEEP)
        print("ready", *server.urls, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=10000)
    parser.add_argument("--use_tls", choices=("true", "false"), default="false")
    parser.add_argument("--tls_cert_file")
    parser.add_argument("--tls_key_file")
    flags = parser.parse_args()
    address, tls = f"tcp://127.0.0.1:{flags.port}", None
    if flags.use_tls == "true":
        address, tls = f"tls://127.0.0.1:{flags.port}", nebula.TLS(flags.tls_cert_file, flags.tls_key_file)
    asyncio.run(serve(address, tls))


if __name__ == "__main__":
    main()

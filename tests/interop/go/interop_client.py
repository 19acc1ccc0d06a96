# interop/go/interop_client.py - gRPC's interop test cases on the Python binding, against anybody's interop server.
#
# usage: interop_client.py --server_host=H --server_port=N --test_case=C [--use_tls=true --ca_file=F
#        --server_host_override=NAME] [--soak_iterations=N --soak_num_threads=N ...]      exit code 0: it holds
#
# What each case must see is gRPC's doc/interop-test-descriptions.md. The cases run on asyncio, the soaks in threads.
# PYTHONPATH has testing_pb2, which matrix.py makes of proto/grpc/testing/testing.proto.
import argparse
import asyncio
import contextlib
import sys
import threading

import testing_pb2 as pb

import nebula

SERVICE = "/grpc.testing.TestService"
ECHO_INITIAL, ECHO_TRAILING = "x-grpc-test-echo-initial", "x-grpc-test-echo-trailing-bin"
METADATA = {ECHO_INITIAL: "test_initial_metadata_value", ECHO_TRAILING: b"\xab\xab\xab"}
REQUEST_SIZES, RESPONSE_SIZES = (27182, 8, 1828, 45904), (31415, 9, 2653, 58979)
TIMEOUT = 10.0


def expect(what, found, expected):
    if found != expected:
        raise AssertionError(f"{what} is {found!r:.200}, not {expected!r:.200}")


@contextlib.asynccontextmanager
async def failing(code, message=None):
    try:
        yield
    except nebula.Error as error:
        expect("the code", error.code, code)
        if message is not None:
            expect("the message", error.message, message)
    else:
        raise AssertionError("the call should have failed")


def simple_request(request_size, response_size):
    return pb.SimpleRequest(response_size=response_size, payload=pb.Payload(body=bytes(request_size)))


def output_request(response_sizes, request_size=0):
    parameters = [pb.ResponseParameters(size=size) for size in response_sizes]
    return pb.StreamingOutputCallRequest(response_parameters=parameters, payload=pb.Payload(body=bytes(request_size)))


def unary_call(channel, request, **options):
    return channel.call(f"{SERVICE}/UnaryCall", request, response=pb.SimpleResponse, **{"timeout": TIMEOUT, **options})


def full_duplex(channel, **options):
    options = {"response": pb.StreamingOutputCallResponse, "timeout": TIMEOUT, **options}
    return channel.open(f"{SERVICE}/FullDuplexCall", **options)


async def expect_response(stream, size):
    expect("the size of the payload", len((await stream.receive()).payload.body), size)


async def expect_end(stream):
    with contextlib.suppress(EOFError):
        raise AssertionError(f"a response too many: {await stream.receive()!r:.200}")


def expect_echo(headers, trailers):
    expect("the initial metadata", headers.get(ECHO_INITIAL), METADATA[ECHO_INITIAL])
    expect("the trailing metadata", trailers.get(ECHO_TRAILING), METADATA[ECHO_TRAILING])


# ---- the cases -------------------------------------------------------------------------------------------------------


async def empty_unary(channel):
    answer = await channel.call(f"{SERVICE}/EmptyCall", pb.Empty(), response=pb.Empty, timeout=TIMEOUT)
    expect("the response", answer, pb.Empty())


async def large_unary(channel):
    answer = await unary_call(channel, simple_request(271828, 314159))
    expect("the size of the payload", len(answer.payload.body), 314159)


async def client_streaming(channel):
    requests = (pb.StreamingInputCallRequest(payload=pb.Payload(body=bytes(size))) for size in REQUEST_SIZES)
    response = pb.StreamingInputCallResponse
    answer = await channel.call(f"{SERVICE}/StreamingInputCall", requests, response=response, timeout=TIMEOUT)
    expect("the sum", answer.aggregated_payload_size, 74922)


async def server_streaming(channel):
    request, response = output_request(RESPONSE_SIZES), pb.StreamingOutputCallResponse
    stream = channel.stream(f"{SERVICE}/StreamingOutputCall", request, response=response, timeout=TIMEOUT)
    expect("the sizes of the payloads", tuple([len(each.payload.body) async for each in stream]), RESPONSE_SIZES)


async def ping_pong(channel):
    stream = full_duplex(channel)
    for request_size, response_size in zip(REQUEST_SIZES, RESPONSE_SIZES):
        await stream.send(output_request([response_size], request_size))
        await expect_response(stream, response_size)
    await stream.done_sending()
    await expect_end(stream)


async def empty_stream(channel):
    stream = full_duplex(channel)
    await stream.done_sending()
    await expect_end(stream)


async def timeout_on_sleeping_server(channel):
    async with failing(nebula.DEADLINE_EXCEEDED):
        stream = full_duplex(channel, timeout=0.001)
        await stream.send(output_request([], 27182))
        await stream.receive()


async def cancel_after_begin(channel):
    stream = channel.open(f"{SERVICE}/StreamingInputCall", response=pb.StreamingInputCallResponse, timeout=TIMEOUT)
    stream.cancel()
    async with failing(nebula.CANCELLED):
        await stream.receive()


async def cancel_after_first_response(channel):
    stream = full_duplex(channel)
    await stream.send(output_request([31415], 27182))
    await expect_response(stream, 31415)
    stream.cancel()
    async with failing(nebula.CANCELLED):
        await stream.receive()


async def status_code_and_message(channel):
    status = pb.EchoStatus(code=nebula.UNKNOWN, message="test status message")
    async with failing(nebula.UNKNOWN, status.message):
        await unary_call(channel, pb.SimpleRequest(response_status=status))
    stream = full_duplex(channel)
    await stream.send(pb.StreamingOutputCallRequest(response_status=status))
    await stream.done_sending()
    async with failing(nebula.UNKNOWN, status.message):
        await stream.receive()


async def special_status_message(channel):
    message = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
    async with failing(nebula.UNKNOWN, message):
        await unary_call(
            channel, pb.SimpleRequest(response_status=pb.EchoStatus(code=nebula.UNKNOWN, message=message))
        )


async def custom_metadata(channel):
    request, options = simple_request(271828, 314159), {"timeout": TIMEOUT, "metadata": METADATA}
    reply = await channel.exchange(f"{SERVICE}/UnaryCall", request, response=pb.SimpleResponse, **options)
    expect_echo(reply.headers, reply.trailers)
    stream = full_duplex(channel, metadata=METADATA)
    await stream.send(output_request([314159], 271828))
    await expect_response(stream, 314159)
    await stream.done_sending()
    await expect_end(stream)
    expect_echo(await stream.headers(), stream.trailers)


async def unimplemented_method(channel):
    async with failing(nebula.UNIMPLEMENTED):
        await channel.call(f"{SERVICE}/UnimplementedCall", pb.Empty(), response=pb.Empty, timeout=TIMEOUT)


async def unimplemented_service(channel):
    path = "/grpc.testing.UnimplementedService/UnimplementedCall"
    async with failing(nebula.UNIMPLEMENTED):
        await channel.call(path, pb.Empty(), response=pb.Empty, timeout=TIMEOUT)


CASES = {
    case.__name__: case
    for case in (
        empty_unary, large_unary, client_streaming, server_streaming, ping_pong, empty_stream,
        timeout_on_sleeping_server, cancel_after_begin, cancel_after_first_response, status_code_and_message,
        special_status_message, custom_metadata, unimplemented_method, unimplemented_service,
    )
}  # fmt: skip


# ---- soak: large_unary again and again by several threads; on one channel, or on a new one for each ------------------


def soak(flags, connect, is_channel_soak):
    request = simple_request(flags.soak_request_size, flags.soak_response_size)
    options = {"timeout": flags.soak_per_iteration_max_acceptable_latency_ms / 1000, "mode": "sync"}
    good, bad, lock = 0, [], threading.Lock()

    def call(channel):
        answer = unary_call(channel, request, **options)
        expect("the size of the payload", len(answer.payload.body), flags.soak_response_size)

    def work(count):
        nonlocal good
        for _ in range(count):
            try:
                with connect() if is_channel_soak else contextlib.nullcontext(shared) as channel:
                    call(channel)
            except (nebula.Error, AssertionError) as error:
                bad.append(error)
            else:
                with lock:
                    good += 1

    with contextlib.nullcontext() if is_channel_soak else connect() as shared:
        iterations = flags.soak_iterations // flags.soak_num_threads
        threads = [threading.Thread(target=work, args=[iterations]) for _ in range(flags.soak_num_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"soak: {good} good, {len(bad)} bad, {len(threads)} threads", *bad[:1])
    expect("the count of good calls", good, iterations * len(threads))


def read_flags():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server_host", default="127.0.0.1")
    parser.add_argument("--server_port", type=int, default=10000)
    parser.add_argument("--test_case", choices=(*CASES, "rpc_soak", "channel_soak"), default="large_unary")
    for name in ("use_tls", "use_test_ca"):
        parser.add_argument(f"--{name}", choices=("true", "false"), default="false")
    for name in ("ca_file", "server_host_override"):
        parser.add_argument(f"--{name}")
    soaks = {"iterations": 10, "num_threads": 1, "request_size": 271828, "response_size": 314159,
             "per_iteration_max_acceptable_latency_ms": 1000, "overall_timeout_seconds": 10}  # fmt: skip
    for name, value in soaks.items():
        parser.add_argument(f"--soak_{name}", type=int, default=value)
    return parser.parse_args()


def main():
    flags = read_flags()
    target, tls = f"tcp://{flags.server_host}:{flags.server_port}", None
    if flags.use_tls == "true":
        target = target.replace("tcp", "tls", 1)
        tls = nebula.TLS(authorities=flags.ca_file, server_name=flags.server_host_override)

    def connect():
        return nebula.connect(target, tls=tls)

    async def run(case):
        async with connect() as channel:
            await case(channel)

    try:
        if flags.test_case in CASES:
            asyncio.run(run(CASES[flags.test_case]))
        else:
            soak(flags, connect, flags.test_case == "channel_soak")
    except (nebula.Error, AssertionError) as error:
        sys.exit(f"interop_client: {error}")


if __name__ == "__main__":
    main()

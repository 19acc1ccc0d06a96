# interop/go/tools.py - what people ask a running server with: grpcurl, buf curl and grpc-health-probe.
#
# They learn all from the server: what it serves and how its messages look by grpc.reflection, v1 and v1alpha, and
# whether it is well by grpc.health.v1.
import json
import subprocess

from programs import NAME

SERVICE = "grpc.testing.TestService"
ASLEEP = "interop.asleep"  # our servers say NOT_SERVING of it
TIMEOUT_S = 20


class Unexpected(Exception):
    pass


def ask(command, code=0):
    """What it prints, when it has ended with that exit code."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != code:
        raise Unexpected(f"exit code {done.returncode}, not {code}: {done.stdout[-500:]}{done.stderr[-500:]}")
    return done.stdout + done.stderr


def expect(answer, *words):
    for word in words:
        if word not in answer:
            raise Unexpected(f"no {word!r} in: {answer[-1000:]}")


class Grpcurl:
    program = "grpcurl"

    def __init__(self, program, port, certificate):
        trust = ["-cacert", certificate, "-authority", NAME] if certificate else ["-plaintext"]
        self.command, self.address = [program, "-max-time", "10", *trust], f"127.0.0.1:{port}"

    def _ask(self, *options, target=(), code=0):
        return ask([*self.command, *options, self.address, *target], code)

    def list(self):
        expect(self._ask(target=["list"]), SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection")
        expect(self._ask(target=["list", SERVICE]), f"{SERVICE}.EmptyCall", f"{SERVICE}.FullDuplexCall")

    def describe(self):
        expect(self._ask(target=["describe", SERVICE]), "( .grpc.testing.Empty ) returns ( .grpc.testing.Empty )",
               "rpc FullDuplexCall ( stream .grpc.testing.StreamingOutputCallRequest )")
        expect(self._ask(target=["describe", "grpc.testing.SimpleRequest"]), "int32 response_size = 2;")
        expect(self._ask(target=["describe", "no.Such"], code=1), "no.Such")

    def call(self):
        answer = self._ask("-d", json.dumps({"responseSize": 3}), target=[f"{SERVICE}/UnaryCall"])
        expect(answer, json.dumps("AAAA"))
        status = {"responseStatus": {"code": 9, "message": "not now"}}
        expect(self._ask("-d", json.dumps(status), target=[f"{SERVICE}/UnaryCall"], code=64 + 9),
               "FailedPrecondition", "not now")

    def stream(self):
        messages = [{"responseParameters": [{"size": 1}, {"size": 2}]}, {"responseParameters": [{"size": 4}]}]
        answer = self._ask("-d", "\n".join(map(json.dumps, messages)), target=[f"{SERVICE}/FullDuplexCall"])
        expect(answer, '"AA=="', '"AAA="', '"AAAAAA=="')

    def health(self):
        method = "grpc.health.v1.Health/Check"
        expect(self._ask("-d", json.dumps({"service": SERVICE}), target=[method]), '"SERVING"')
        expect(self._ask("-d", json.dumps({"service": ASLEEP}), target=[method]), '"NOT_SERVING"')
        expect(self._ask("-d", json.dumps({"service": "no.Such"}), target=[method], code=64 + 5), "NotFound")


class HealthProbe:
    program = "grpc-health-probe"

    def __init__(self, program, port, certificate):
        trust = ["-tls", "-tls-ca-cert", certificate, "-tls-server-name", NAME] if certificate else []
        self.command = [program, "-addr", f"127.0.0.1:{port}", "-connect-timeout", "10s", "-rpc-timeout", "10s", *trust]

    def serving(self):
        expect(ask(self.command), "SERVING")
        expect(ask([*self.command, "-service", SERVICE]), "SERVING")

    def not_serving(self):
        expect(ask([*self.command, "-service", ASLEEP], code=4), "NOT_SERVING")

    def unknown(self):
        expect(ask([*self.command, "-service", "no.Such"], code=3), "NotFound")


class BufCurl:
    program = "buf"

    def __init__(self, program, port, certificate):
        trust = ["--cacert", certificate, "--servername", NAME] if certificate else ["--http2-prior-knowledge"]
        self.command = [program, "curl", "--protocol", "grpc", "--reflect", *trust]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"

    def _ask(self, *options, target="", code=0):
        return ask([*self.command, *options, f"{self.url}{target}"], code)

    def list(self):
        expect(self._ask("--list-services"), SERVICE, "grpc.health.v1.Health")
        expect(self._ask("--list-methods"), f"{SERVICE}/EmptyCall")

    def call(self):
        for version in ("grpc-v1", "grpc-v1alpha"):
            options = ("--reflect-protocol", version, "-d", json.dumps({"responseSize": 3}))
            expect(self._ask(*options, target=f"/{SERVICE}/UnaryCall"), '"AAAA"')

    def stream(self):
        messages = [{"responseParameters": [{"size": 1}, {"size": 2}]}, {"responseParameters": [{"size": 4}]}]
        answer = self._ask("-d", "\n".join(map(json.dumps, messages)), target=f"/{SERVICE}/FullDuplexCall")
        expect(answer, '"AA=="', '"AAA="', '"AAAAAA=="')

    def health(self):
        expect(self._ask("-d", json.dumps({"service": ASLEEP}), target="/grpc.health.v1.Health/Check"), "NOT_SERVING")


# The checks of each, by name.
CHECKS = {
    tool: [name for name in vars(tool) if not name.startswith("_") and name != "program"]
    for tool in (Grpcurl, HealthProbe, BufCurl)
}

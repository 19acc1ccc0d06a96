# bindings/scenarios.py - a pair whose server comes and goes: absent, late, drained, killed.
import base64
import time

import cases
from programs import Broken, Client, Server

CALLS = 100
ARRIVAL_S = 0.2  # that calls take at least until all have arrived
WAIT_S = 60

UNAVAILABLE = 14


def run(client_language, server_language, folder, watcher):
    """Each scenario's name with what went wrong, None for nothing. watcher: the language that looks at the servers."""
    stage = Stage(client_language, server_language, folder, watcher)
    outcomes = {}
    try:
        for scenario in (fails_fast_without_a_server, waits_for_a_server, loses_nothing_when_drained, tells_of_a_loss):
            try:
                outcomes[scenario.__name__] = scenario(stage)
            except Broken as trouble:
                outcomes[scenario.__name__] = str(trouble)
                break  # the others would meet what this one has left
    finally:
        stage.close()
    return outcomes


class Stage:
    """A client, which is there all the time, and the place of a server, which is not."""

    def __init__(self, client_language, server_language, folder, watcher):
        self.folder = folder
        self.name = f"{client_language}-{server_language}"
        self.language = server_language
        self.url = f"unix:{folder}/{self.name}.sock"
        self.client = Client(client_language, self.url, folder, f"{server_language}-stage")
        self.watcher = Client(watcher, self.url, folder, f"{self.name}-watcher")
        self.server = None

    def serve(self):
        if self.server is not None:
            self.server.kill()
        self.server = Server(self.language, self.url, self.folder, f"server-{self.name}")
        self.await_state("nobody", "unknown")  # the watcher has its connection before it is needed

    def close(self):
        for program in (self.client, self.watcher, self.server):
            if program is not None:
                program.kill()

    def begin(self, case):
        """Hands a case out, and returns what gets its result."""
        deadline = time.monotonic() + WAIT_S
        self.client.begin(case, deadline)
        return lambda: self.client.result(case, deadline)

    def await_state(self, key, state):
        """Until Recall says so of a key. It answers with a Record, whose state an Answer has as its payload."""
        wanted = base64.b64encode(state.encode()).decode()
        case = {"name": "watch", "method": "/nebula.test.v1.Conformance/Recall", "asks": [{"key": key}],
                "wait_for_ready": True, "timeout_ms": WAIT_S * 1000}
        deadline = time.monotonic() + WAIT_S
        while (result := self.watcher.run(case))["answers"] != [{"payload": wanted}]:
            if time.monotonic() > deadline:
                raise Broken(f"{key} never was {state}: {result}")


def trouble(expected, result):
    return "; ".join(cases.differences({"expect": expected}, result)) or None


def fails_fast_without_a_server(stage):
    absent = {"name": "absent", "method": "Unary", "asks": [{}], "timeout_ms": 10000}
    stage.client.run(absent)  # which also begins what a language begins with its first call
    result = stage.client.run(absent)
    return trouble({"code": UNAVAILABLE, "fate": "unsent", "fault": "network", "took_ms": {"max": 2000}}, result)


def waits_for_a_server(stage):
    result = stage.begin({"name": "waits", "method": "Unary", "asks": [{"text": "late"}], "wait_for_ready": True,
                          "timeout_ms": WAIT_S * 1000})
    stage.serve()
    return trouble({"code": 0, "answers": [{"text": "late"}]}, result())


def loses_nothing_when_drained(stage):
    burst = {"name": "burst", "method": "Unary", "asks": [{}], "times": CALLS, "at_once": CALLS}
    began = time.monotonic()
    stage.client.run(burst)
    # So long a burst takes here and now, and nothing tells of the last one's arrival: calls that have not arrived when
    # the server stops are not lost, but refused.
    arrival_s = max(ARRIVAL_S, 2 * (time.monotonic() - began))
    delay_ms = int(2000 * arrival_s) + 500
    result = stage.begin({**burst, "name": "drain", "asks": [{"key": "drain", "delayMs": delay_ms}]})
    stage.await_state("drain", "running")
    time.sleep(arrival_s)
    stage.server.terminate()
    lost = trouble({"codes": {"0": CALLS}}, result())
    stage.server.end()
    after = stage.client.run({"name": "drained", "method": "Unary", "asks": [{}], "timeout_ms": 5000})
    return lost or trouble({"code": UNAVAILABLE, "fate": {"any": ["unsent", "unprocessed"]}}, after)


def tells_of_a_loss(stage):
    stage.serve()
    result = stage.begin({"name": "loss", "method": "Unary", "asks": [{"key": "loss", "delayMs": WAIT_S * 1000}],
                          "wait_for_ready": True, "timeout_ms": WAIT_S * 1000})
    stage.await_state("loss", "running")
    stage.server.kill()
    return trouble({"code": UNAVAILABLE, "fate": "unknown", "fault": "network"}, result())

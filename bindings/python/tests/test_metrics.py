"""What a process counts of its own calls, and how others on the host may ask for it."""

import asyncio
import threading

import nebula
import pytest
from kit import aio


def numbered():
    """A service that fails every other time."""
    app = nebula.Service("counted")
    seen = []

    @app.rpc
    def greet(name: str = "world") -> str:
        seen.append(name)
        if name == "nobody":
            raise nebula.Error(nebula.NOT_FOUND, "who?")
        return f"Hello {name}!"

    return app


def test_both_sides_are_counted_by_method_and_status(serving):
    serving(numbered())
    before = nebula.metrics()
    for name in ("Ada", "Grace", "nobody"):
        try:
            nebula.service("counted").greet(name=name)
        except nebula.Error as error:
            assert error.code == nebula.NOT_FOUND
    after = nebula.metrics()

    def grown(name, **labels):
        return after.total(name, **labels) - (before.total(name, **labels) if name in before else 0)

    mine = {"target": "counted", "method": "counted/greet"}  # not what the engine asks for itself: the description
    assert grown("nebula.client.call.started", **mine) == 3
    assert grown("grpc.client.attempt.started", **mine) == 3
    assert grown("grpc.client.call.duration", **mine, status="OK") == 2
    assert grown("grpc.client.call.duration", **mine, status="NOT_FOUND") == 1
    assert grown("grpc.server.call.duration", method="counted/greet", status="OK") == 2
    assert grown("grpc.client.call.retries", **mine) == 0


def test_times_are_in_histograms(serving):
    serving(numbered())
    nebula.service("counted").greet()
    points = nebula.metrics()["grpc.client.call.duration"]
    point = next(each for each in points if each.target == "counted" and each.status == "OK")
    histogram = point.histogram
    assert histogram.count == sum(histogram.buckets) >= 1
    assert len(histogram.buckets) == len(histogram.bounds) + 1
    assert 0 < histogram.sum < 60
    assert 0 < histogram.quantile(0.5) <= histogram.quantile(1.0) <= 100


def test_channels_say_where_calls_go(serving):
    server = serving(numbered())
    nebula.service("counted").greet()
    channel = next(each for each in nebula.metrics().channels if each.target == "counted" and each.nodes)
    node = channel.nodes[0]
    assert node.state == "usable"
    assert node.attempts >= 1 and node.picks >= node.attempts
    assert any(url in node.address for url in server.urls)
    assert node.connect_time > 0
    assert len(node.description) == 16


def test_what_the_documentation_shows(serving, capsys):
    serving(numbered())
    nebula.service("counted").greet()
    metrics = nebula.metrics()  # in a running loop: await nebula.metrics()
    calls = metrics.total("nebula.client.call.started", target="counted")
    for point in metrics["grpc.client.call.duration"]:
        print(point.target, point.method, point.status, point.histogram.count, point.histogram.quantile(0.99))
    for channel in metrics.channels:
        for node in channel.nodes:
            print(channel.target, node.id, node.state, node.in_flight, node.latency)
    assert calls >= 1
    out = capsys.readouterr().out
    assert "counted counted/greet OK" in out and " usable 0 " in out


def test_it_is_awaited_where_a_loop_runs(serving):
    serving(numbered())

    async def main():
        await nebula.service("counted").greet()
        return await nebula.metrics()

    assert aio(main).total("grpc.client.attempt.started", target="counted") >= 1


def test_threads_ask_at_the_same_time(serving):
    serving(numbered())
    totals = []

    def ask():
        nebula.service("counted").greet()
        totals.append(nebula.metrics().total("grpc.server.call.duration", method="counted/greet"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(totals) == 8 and min(totals) >= 1


def test_the_admin_service_answers_at_the_unix_socket_alone(serving):
    server = serving(numbered())
    local = next(url for url in server.urls if url.startswith("unix:"))
    public = next(url for url in server.urls if url.startswith("tcp:"))
    with nebula.connect(local) as channel:
        channels = channel.service("nebula.v1.Admin").Channels()["channels"]
        names = [metric["name"] for metric in channel.service("nebula.v1.Admin").Metrics()["metrics"]]
    assert any(each["target"] == local for each in channels)
    assert "grpc.server.call.duration" in names
    with nebula.connect(public) as channel:
        with pytest.raises(nebula.Error, match="NEBULA_ADMIN=open") as denied:
            channel.service("nebula.v1.Admin").Metrics()
        assert denied.value.code == nebula.PERMISSION_DENIED


def test_a_coroutine_is_not_given_where_it_is_not_wanted():
    async def main():
        return nebula.metrics(mode="sync")

    assert "grpc.client.attempt.started" in asyncio.run(main())

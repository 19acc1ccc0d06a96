# faults/peers.py - the same scenes with Nebula, with grpc-go and with rpcx, all in Go, side by side.
#
# grpc-go has what its documents recommend: round robin over DNS, outlier detection, retries; rpcx what its client has by
# default: three retries elsewhere; peers/grpc.go and peers/rpcx.go have the numbers. Nebula has its
# defaults, and etcd. Only calls that may be repeated count: the others repeat all.
import time

import table
from history import History, failed, percentile, share_of

RATE = 600
CALM_S = 5
SIDES = {"Nebula": "go", "grpc-go": "grpc", "rpcx": "rpcx"}


def compare(stage, to_docs):
    sides = []
    for text, scene in SCENES.items():
        sides.append([text])
        for side, language in SIDES.items():
            sides[-1].append(scene(stage, language))
            print(f"{text} | {side}: {sides[-1][-1]}", flush=True)
    if to_docs:
        table.render_peers(stage.rate, SIDES, sides)


def cluster_of(stage, language, servers):
    names = [f"s{i}" for i in range(1, servers + 1)]
    return stage.cluster(all_of=language, servers=names, clients=("c1",), streams=0)


def history_of(cluster):
    cluster.stop_calling()
    return History(cluster)


def milliseconds(calls):
    return f"p99 {1000 * percentile(calls, 0.99):.1f} ms"


def failures(calls):
    return f"{len(failed(calls)):,} of {len(calls):,} calls failed"


def slow_of_ten(stage, language):
    with cluster_of(stage, language, 10) as cluster:
        time.sleep(CALM_S)
        began = time.time()
        cluster.servers["s1"].order("delay 200")
        time.sleep(15)
        calls = history_of(cluster).of("i", began + 5)
    return f"it has {100 * share_of(calls, 's1'):.1f} % of the calls; {milliseconds(calls)}"


def failing_of_three(stage, language):
    with cluster_of(stage, language, 3) as cluster:
        time.sleep(CALM_S)
        began = time.time()
        cluster.servers["s1"].order("fail 1")
        time.sleep(20)
        ended = time.time()
        history = history_of(cluster)
    calls, runs = history.of("i", began), [when for when, _ in history.begun["s1"]]
    in_vain = sum(began <= when < ended for when in runs)
    first = sum(began <= when < began + 5 for when in runs)
    return f"{failures(calls)}; {in_vain:,} tries in vain in 20 s, {first:,} of them in the first 5 s"


def rolling_restart(stage, language):
    with cluster_of(stage, language, 3) as cluster:
        time.sleep(CALM_S)
        began = time.time()
        for name in ("s1", "s2", "s3"):
            cluster.servers[name].terminate()
            cluster.servers[name].end()
            cluster.serve(name)
            time.sleep(2)
        calls = history_of(cluster).of("in", began)
    return f"{failures(calls)}; {milliseconds(calls)}"


def scale_up(stage, language):
    with cluster_of(stage, language, 2) as cluster:
        time.sleep(CALM_S)
        cluster.serve("s3")
        added = time.time()
        time.sleep(30)
        calls = history_of(cluster).of("in", added)
    new = [call.ended for call in calls if call.instance == "s3"]
    if not new:
        return "the new one was not called within 30 s"
    return f"called after {max(0.0, min(new) - added):.2f} s; {100 * share_of(calls, 's3'):.0f} % of the calls of 30 s"


SCENES = {
    "one of ten nodes is 200 ms slower": slow_of_ten,
    "one of three nodes fails all calls": failing_of_three,
    "three nodes are restarted in turn": rolling_restart,
    "a third node joins two, with connections open to them": scale_up,
}

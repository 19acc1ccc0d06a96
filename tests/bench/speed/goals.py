# bench/speed/goals.py - what the speed suite promises: Nebula's share of a peer, in the same run.
#
# A goal is a bound of the ratio, at most where less is better and at least where more is, to the best of its peers; of
# one without peers a bound of the figure itself.
from contest import METRICS

CPU = "server_cpu_us_per_req"
SERVERS = ("tonic", "grpc_go", "connect_go")
# What it is called, case, metric, peers, bound.
GOALS = [
    ("server CPU a request, 20 B, 1x100, of gRPC C++ async", "unary_20B_1x100", CPU, ("grpc_cpp_async",), 0.22),
    ("the same, 50x20", "unary_20B_50x20", CPU, ("grpc_cpp_async",), 0.22),
    ("of nghttpd with a tiny file, 1x100", "unary_20B_1x100", CPU, ("nghttpd",), 1.3),
    ("the same, 50x20", "unary_20B_50x20", CPU, ("nghttpd",), 1.3),
    ("of the best of tonic, grpc-go, connect-go, 1x100", "unary_20B_1x100", CPU, SERVERS, 0.4),
    ("over TLS, of gRPC C++ async, 1x100", "tls_unary_20B_1x100", CPU, ("grpc_cpp_async",), 0.35),
    ("server CPU a call of 64 KiB, 1x8, of the best peer", "unary_64KiB_1x8", CPU,
     ("grpc_cpp_async", "grpc_cpp_callback", *SERVERS), 0.8),
    ("server CPU a message of 64 KiB, bidi, of gRPC C++", "stream_65536B_8", CPU, ("grpc_cpp_async",), 0.8),
    ("pair, calls a second, 20 B, 1x100, of gRPC C++", "pair_20B_1x100", "per_s", ("grpc_cpp_async",), 6),
    ("of rpcx on its own protocol and of tonic", "pair_20B_1x100", "per_s", ("rpcx", "tonic"), 2),
    ("of the raw libuv ping-pong", "pair_20B_1x100", "per_s", ("uv_ping_pong",), 0.25),
    ("bidi messages a second, 20 B, of gRPC C++", "stream_20B_100", "per_s", ("grpc_cpp_async",), 7),
    ("one call at a time, p50, of gRPC C++", "pair_20B_1x1_p50", "p50_us", ("grpc_cpp_async",), 0.65),
    ("CPU of both sides by name, of the same by address", "by_name_20B_1x100", "cpu_us", ("nebula_direct",), 1.15),
    ("RSS of an idle connection, bytes", "idle_connections_10000", "rss_bytes_per_connection", (), 16384),
]
CASES = {case for _, case, *_ in GOALS}


def judged(rows):
    """Of each goal whose case and peers were measured: {goal, case, bound, value, spread, held}."""
    found = []
    for goal, case, metric, peers, bound in GOALS:
        is_less = METRICS[metric][1] == "less"
        row = next((row for row in rows if row["case"] == case and row["metric"] == metric), None)
        shares = [(row["ratio"][peer], row["ratio_spread"][peer]) for peer in peers if peer in row["ratio"]] if row else []
        if row and not peers:
            shares = [(row["ours"], row["spread"])]
        if not shares:
            continue
        value, spread = (max if is_less else min)(shares)  # the best peer's
        found.append({"goal": goal, "case": case, "bound": ("<= " if is_less else ">= ") + f"{bound:g}", "value": value,
                      "spread": spread, "held": value <= bound if is_less else value >= bound})
    return found


def show(goals):
    for each in goals:
        low, high = each["spread"]
        print(f"{each['goal']:<55} {each['bound']:>8}  {each['value']:>8.5g} ({low:.4g}-{high:.4g})"
              f"  {'held' if each['held'] else 'NOT HELD'}")
    print(f"goals: {sum(each['held'] for each in goals)} of {len(goals)} held")

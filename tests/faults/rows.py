# faults/rows.py - the faults: each is a cluster under load, something that happens to it, and what must hold of it.
#
# A row is a function of a Stage that gives Findings; what stands over it goes into the table.
import random
import signal
import time

from findings import Findings
from history import (History, answers_a_second, failed, percentile, recovered_after, share_of)

ROWS = {}
CALM_S = 5  # of load before anything happens
SLACK_S = 0.05  # that a call may be beyond its deadline
MILLISECONDS = 1000
PAUSE_MS = 25  # of the clients by the machine, that are worth a word


def row(number, fault, target):
    def enter(function):
        ROWS[number] = (fault, target, function)
        return function
    return enter


def judged(cluster, findings):
    """The history of a cluster that calls no more, with what holds of every row."""
    cluster.stop_calling()
    history = History(cluster)
    findings.nothing(history.untold())
    late = sum(by > SLACK_S for by, _ in history.beyond(cluster.timeout_ms / 1000))
    findings.at_most("calls beyond deadline + 50 ms", late, 0)
    if (pause := history.longest_pause() * MILLISECONDS) > PAUSE_MS:
        findings.note(f"the machine let a client stand for up to {pause:.0f} ms")
    return history


@row("1", "rolling restart of 3 nodes by SIGTERM",
     "0 failed calls, idempotent or not, nor streams; p99 < 3x; drained within 10 s of grace")
def rolling_restart(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        began, drains = time.time(), []
        for name in ("s1", "s2", "s3"):
            server, asked = cluster.servers[name], time.time()
            server.terminate()
            server.end()
            drains.append(time.time() - asked)
            cluster.serve(name)
            time.sleep(2)
        ended = time.time()
        time.sleep(1)
        history = judged(cluster, findings)
    before, during = history.of(since=began - CALM_S + 1, until=began), history.of(since=began, until=ended)
    findings.at_most("idempotent calls failed", len(failed(history.of("i"))), 0)
    findings.at_most("others failed", len(failed(history.of("n"))), 0)
    findings.at_most("streams failed", len(failed(history.of("s"))), 0)
    base = percentile(before, 0.99) * MILLISECONDS
    findings.at_most(f"p99 (before: {base:.1f} ms)", percentile(during, 0.99) * MILLISECONDS, 3 * base, " ms")
    findings.at_most("longest drain", max(drains), 10.5, " s")
    findings.note(f"of {len(history.of()):,} calls and {len(history.of('s'))} streams")
    return findings


@row("2", "kill -9 of one node of 3",
     "0 failed idempotent calls; 95 % of the throughput in < 2 s; without retries no more fail than were open")
def killed(stage):
    findings = Findings()
    for policy in ("", "failfast:"):
        with stage.cluster(policy=policy) as cluster:
            time.sleep(CALM_S)
            began = time.time()
            cluster.servers["s2"].kill()
            gone = time.time()
            time.sleep(8)
            history = judged(cluster, findings)
        lost = failed(history.of())
        if policy:
            findings.at_most(f"without retries failed, of {len(history.open_between(began, gone))} open",
                             len(lost), len(history.open_between(began, gone)))
            continue
        base = answers_a_second(history.of(), began - CALM_S + 1, began)
        findings.at_most("idempotent calls failed", len(failed(history.of("i"))), 0)
        findings.at_most("others failed", len(failed(history.of("n"))), len(history.open_between(began, gone)))
        findings.at_most("95 % after", recovered_after(history.of(), began, gone + 7, base), 2.0, " s")
    return findings


CHURN_EACH_S, CHURN_DOWN_S = 10, 2


@row("3", "kill -9 and restart of a random node every 10 s",
     "success >= 99.99 % of idempotent calls; attempts per call <= 1.1; clients' memory and files do not grow")
def churn(stage):
    findings, draw = Findings(), random.Random(stage.seed)
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        kills = max(3, int(stage.seconds / CHURN_EACH_S))
        sizes = []
        for _ in range(kills):
            began = time.monotonic()
            name = draw.choice(("s1", "s2", "s3"))
            cluster.servers[name].kill()
            time.sleep(CHURN_DOWN_S)
            cluster.serve(name)
            time.sleep(max(0.0, began + CHURN_EACH_S - time.monotonic()))
            sizes.append([(client.rss(), client.files()) for client in cluster.clients.values()])
        history = judged(cluster, findings)
    calls = history.of("i")
    findings.at_least("success", 100 - 100 * len(failed(calls)) / len(calls), 99.99, " %")
    findings.at_most("attempts per call", history.attempts(calls), 1.1)
    # Of the second half alone: the first has all that is made once. What a log of outcomes takes is written, not kept.
    for i, name in enumerate(cluster.clients):
        (rss, files), (last_rss, last_files) = sizes[len(sizes) // 2][i], sizes[-1][i]
        findings.at_most(f"{name} memory", 100 * last_rss / rss - 100, 5, " %")
        findings.at_most(f"{name} files", last_files - files, 2)
    findings.note(f"{kills} kills, {len(calls):,} calls (an hour scaled to {kills * CHURN_EACH_S} s)")
    return findings


@row("4", "SIGSTOP of one node, SIGCONT after 30 s",
     "routed round in < 2 s, one probe in 10 s of each client apart; back in < 35 s; no stale answer delivered")
def stopped(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        server = cluster.servers["s2"]
        began = time.time()
        server.send(signal.SIGSTOP)
        time.sleep(30)
        resumed = time.time()
        server.send(signal.SIGCONT)
        for _ in range(70):
            time.sleep(0.5)
        history = judged(cluster, findings)
    lost = failed(history.of(since=began, until=resumed))
    late = [call for call in lost if call.began > began + 2]
    findings.note(f"{len(lost) - len(late)} failed in the first 2 s")
    findings.at_most("failed later", len(late), len(cluster.clients) * 3)
    back = [call.ended for call in history.of(since=resumed) if call.code == 0 and call.instance == "s2"]
    findings.at_most("back after", min(back) - resumed if back else None, 35.0, " s")
    share = share_of(history.of(since=resumed + 25), "s2")
    findings.at_least("its share 25 s after", 100 * share, 20, " %")
    return findings


@row("5", "one node of 3 is 200 ms slower (its handler waits)", "its share < 10 % in 5 s; p99 < 250 ms")
def slow(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        began = time.time()
        cluster.servers["s2"].order("delay 200")
        time.sleep(15)
        ended = time.time()
        history = judged(cluster, findings)
    findings.at_most("share after 5 s", 100 * share_of(history.of(since=began + 5, until=ended), "s2"), 10.0, " %")
    findings.at_most("p99", percentile(history.of(since=began, until=ended), 0.99) * MILLISECONDS, 250, " ms")
    findings.at_most("failed", len(failed(history.of())), 0)
    return findings


CUT_S = 20


@row("6", "partition between clients and servers", "calls fail by deadline + 50 ms; recovery < 2 s after it heals")
def partition(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        began = time.time()
        stage.field.cut(("c1", "c2"), ("s1", "s2", "s3"))
        time.sleep(CUT_S)
        stage.field.heal()
        healed = time.time()
        time.sleep(15)
        history = judged(cluster, findings)
    base = answers_a_second(history.of(), began - CALM_S + 1, began)
    codes = sorted({call.code for call in failed(history.of())})
    findings.at_most("codes other than UNAVAILABLE and DEADLINE_EXCEEDED", len(set(codes) - {4, 14}), 0)
    first = [call.ended for call in history.of(since=healed) if call.code == 0]
    findings.note(f"first answer {min(first) - healed:.2f} s after" if first else "no answer after")
    findings.at_most("95 % after", recovered_after(history.of(), healed, healed + 14, base), 2.0, " s")
    findings.note(f"{CUT_S} s in place of 60")
    return findings


GONE_S = 60


@row("9", "the registry is killed, and comes back", "0 failed calls; a new instance is called < 2 s after it is back")
def registry_lost(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        cluster.registry.kill()
        time.sleep(GONE_S)
        back = cluster.registry.start()
        cluster.serve("s4")
        announced = time.time()
        time.sleep(12)
        history = judged(cluster, findings)
    findings.at_most("failed", len(failed(history.of("ins"))), 0)
    new = [call.ended for call in history.of() if call.instance == "s4"]
    findings.note(f"started and announced {announced - back:.2f} s after")
    findings.at_most("called after", min(new) - back if new else None, 2.0, " s")
    findings.note(f"{GONE_S} s in place of 10 min, of {len(history.of()):,} calls")
    return findings


@row("17", "all calls of the backend fail, retries on; then those of one node of 3",
     "attempts per call <= 1.1; that node is left alone in < 1 s, and has at most 3 probes at a time")
def failing(stage):
    findings = Findings()
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        began = time.time()
        for server in cluster.servers.values():
            server.order("fail 1")
        time.sleep(10)
        ended = time.time()
        for server in cluster.servers.values():
            server.order("fail 0")
        time.sleep(CALM_S)
        history = judged(cluster, findings)
    findings.at_most("attempts per call", history.attempts(history.of("in", began, ended)), 1.1)
    findings.at_least("success 4 s after", 100 - 100 * len(failed(history.of(since=ended + 4)))
                      / max(1, len(history.of(since=ended + 4))), 99.9, " %")
    with stage.cluster() as cluster:
        time.sleep(CALM_S)
        began = time.time()
        cluster.servers["s2"].order("fail 1")
        time.sleep(10)
        history = judged(cluster, findings)
    for client in cluster.clients:
        times = sorted(when for when, key in history.begun["s2"] if when >= began and key.startswith(client + "-")
                       and "-s" not in key)
        calls, *probes = bursts(times) or [[]]
        findings.at_most(f"{client} left it alone after", calls[-1] - calls[0] if calls else 0.0, 1.0, " s")
        findings.at_most("probes at a time", max(map(len, probes), default=0), 3)
    findings.at_most("idempotent calls failed", len(failed(history.of("i"))), 0)
    return findings


QUIET_S = 0.5  # a breaker's first pause is a second


def bursts(times):
    """Those between one pause and the next."""
    found = []
    for before, when in zip([float("-inf")] + times, times):
        if when - before > QUIET_S:
            found.append([])
        found[-1].append(when)
    return found


ROUGH_CONNECTIONS, ROUGH_S = 10_000, 240


@row("22", "10,000 connections of bytes one by one, silence, RST in the midst of a message, slow close",
     "no call hangs; nothing is left of them")
def rough(stage):
    findings = Findings()
    with stage.cluster(is_rough=True, streams=0) as cluster:
        processes = {**cluster.servers, **cluster.clients}
        before = {name: server.files() for name, server in cluster.servers.items()}
        deadline, sizes = time.monotonic() + ROUGH_S, []  # of everybody, a tenth of the connections apart
        while (seen := cluster.proxy.connections()) < ROUGH_CONNECTIONS and time.monotonic() < deadline:
            time.sleep(0.2)
            if seen >= len(sizes) * ROUGH_CONNECTIONS / 10:
                sizes.append({name: process.rss() for name, process in processes.items()})
        open_files = [client.files() for client in cluster.clients.values()]
        history = judged(cluster, findings)
        cluster.proxy.process.stdin.close()
        time.sleep(5)
        left = {name: server.files() - before[name] for name, server in cluster.servers.items()}
    findings.at_least("connections", seen, ROUGH_CONNECTIONS)
    grown = [max(100 * sizes[-1][name] / sizes[len(sizes) // 2][name] - 100 for name in group)
             for group in (cluster.servers, cluster.clients)]
    for who, percent in zip(("server", "client"), grown):
        findings.at_most(f"in their second half the memory of a {who} grew by", percent, 10, " %")
    findings.at_most("files left in a server", max(0, *left.values()), 8)
    findings.at_most("files of a client with 100 instances", max(open_files), 250)
    findings.note(f"{100 - 100 * len(failed(history.of('i'))) / len(history.of('i')):.1f} % of idempotent calls went well")
    return findings

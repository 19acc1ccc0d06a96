#!/usr/bin/env python3
# faults/faults.py - the campaign: real processes on a network of their own, and what must hold when it goes wrong there.
#
# usage: tests/faults/faults.py [--rows 1,2] [--rate 500] [--seconds 120] [--json file] [--docs] [--keep folder] [--peers]
#
# --rate: calls a second of both clients together, 5,000 where none is said; 40 % at most of what the cluster can take,
# which is measured first.
# --seconds: of row 3. --json: the results; rows of it that are not run again stay. --docs: renders those into
# docs/faults.md. --keep: what everybody wrote down, in a new folder. --peers: in place of the rows, Nebula, grpc-go and
# rpcx side by side. A line a row; last "faults: N passed, N failed".
import argparse
import contextlib
import json
import os
import pathlib
import sys
import tempfile
import time

import cast
import field as fields
import peers
import rows
import table
from history import History, answers_a_second

RATE_MAX, SHARE = 5000, 0.4
CAPACITY_S, AT_ONCE = 5, 64


class Stage:
    """What a row needs: a field, a rate, a folder of its own for each cluster."""

    def __init__(self, field, folder, rate, seconds, seed):
        self.field, self.folder, self.rate, self.seconds, self.seed = field, folder, rate, seconds, seed
        self.clusters = 0

    def cluster(self, **options):
        self.clusters += 1
        folder = self.folder / str(self.clusters)
        folder.mkdir()
        return cast.Cluster(self.field, folder, **{"rate": self.rate, **options})


def capacity(stage):
    """Answers a second when the clients call as fast as they are answered."""
    with stage.cluster(rate=-AT_ONCE, streams=0, timeout_ms=10000) as cluster:
        time.sleep(1)
        began = time.time()
        time.sleep(CAPACITY_S)
        ended = time.time()
        cluster.stop_calling()
        return answers_a_second(History(cluster).of(), began, ended)


def judge(stage, number):
    fault, target, play = rows.ROWS[number]
    result = {"row": number, "fault": fault, "target": target, "rate": stage.rate,
              "load": os.getloadavg()[0]}
    try:
        findings = play(stage)
        return {**result, "measured": findings.measured, "broken": findings.broken}
    except (cast.Broken, fields.NoField) as trouble:
        return {**result, "measured": [], "broken": [str(trouble)]}


def main():
    parser = argparse.ArgumentParser(description="the campaign of faults; the head of this file says more")
    parser.add_argument("--rows", type=lambda text: text.split(","), default=list(rows.ROWS))
    parser.add_argument("--rate", type=int)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--keep", type=pathlib.Path)
    parser.add_argument("--peers", action="store_true")
    given = parser.parse_args()
    if unknown := set(given.rows) - set(rows.ROWS):
        parser.error(f"there is no row {', '.join(unknown)}; there are {', '.join(rows.ROWS)}")
    languages = ("go", *cast.PEERS) if given.peers else ("python", "c++", "go")
    absent = cast.missing(*languages)
    if lack := fields.has_what_it_takes() or (absent and f"there is no {absent}: make faults builds it"):
        print(f"faults: cannot be run here: {lack}")
        return 1
    results, passed = [], 0
    if given.keep:
        given.keep.mkdir(parents=True)
    with contextlib.nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory(prefix="nebula-faults-") as folder:
        try:
            with fields.Field() as field:
                stage = Stage(field, pathlib.Path(folder), given.rate, given.seconds, given.seed)
                if given.peers:
                    stage.rate = given.rate or peers.RATE
                    peers.compare(stage, given.docs)
                    return 0
                most = capacity(stage)
                stage.rate = int(min(given.rate or RATE_MAX, SHARE * most)) // 2 * 2
                heading = table.heading(stage, most)
                print(heading, flush=True)
                for number in given.rows:
                    results.append(judge(stage, number))
                    print(table.line(results[-1]), flush=True)
                    passed += not results[-1]["broken"]
        except fields.NoField as trouble:
            print(f"faults: no network namespaces here: {trouble}")
            return 1
    known = {result["row"]: result for result in results}
    if given.json:
        if given.json.exists():
            known = {**{result["row"]: result for result in json.loads(given.json.read_text())["rows"]}, **known}
        known = {number: known[number] for number in rows.ROWS if number in known}
        given.json.write_text(json.dumps({"heading": heading, "rows": list(known.values())}, indent=1) + "\n")
    if given.docs:
        table.render(known.values())
    print(f"faults: {passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())

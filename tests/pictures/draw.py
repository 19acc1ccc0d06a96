#!/usr/bin/env python3
# pictures/draw.py - the pictures of docs/policies.md, from the runs that build/release/tests/pictures has made.
#
# usage: tests/pictures/draw.py [folder]
#        none: docs/policies, whose runs.json it reads and whose pictures it writes
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/bench"))
import chart  # noqa: E402


def pictures(runs):
    """{file: SVG}"""
    drawn = {}
    for run in runs:
        curves = {curve["name"]: curve["points"] for curve in run["curves"]}
        seconds = round(max(points[-1][0] for points in curves.values()))
        drawn[f"{run['file']}.svg"] = chart.time_chart(run["title"], run["y"], run["y_max"], run["events"], curves, seconds)
    return drawn


def main(folder=ROOT / "docs/policies"):
    folder = pathlib.Path(folder)
    for name, picture in pictures(json.loads((folder / "runs.json").read_text())).items():
        (folder / name).write_text(picture)


if __name__ == "__main__":
    main(*sys.argv[1:])

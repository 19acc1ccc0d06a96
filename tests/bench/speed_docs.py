#!/usr/bin/env python3
# bench/speed_docs.py - renders what speed_bench.py has measured into docs/performance.md, and its pictures.
#
# usage: tests/bench/speed_docs.py [--partial] [results.json] [folder]
#        none: of build/bench into docs. --partial: also of a run that was quick, or of some cases
#
# Between the page's lines <!-- generated --> and <!-- end --> everything is replaced, in the README what stands between
# <!-- goals --> and <!-- end -->; pictures, and results.json, go into the folder performance beside the page. What
# languages/run.py has measured, beside the results, goes between <!-- languages --> and <!-- end -->. Either may be missing.
import argparse
import json
import pathlib
import re
import shutil
import sys

import chart

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = {  # in the order of the columns
    "nebula": "Nebula", "nebula_inline": "inline queue", "nebula_tcp": "over TCP", "nebula_direct": "by address",
    "nebula_one_method": "one method", "grpc_cpp_async": "gRPC C++ async", "grpc_cpp_callback": "gRPC C++ callback",
    "grpc_go": "grpc-go", "connect_go": "connect-go", "rpcx": "rpcx", "tonic": "tonic", "nghttpd": "nghttpd",
    "uv_ping_pong": "libuv ping-pong",
}
# Title; the cases, by their names; metric
TABLES = [
    ("A request's processor time on the server, us", r"(unary|tls|unix_unary|threaded)_", "server_cpu_us_per_req"),
    ("The same as connections and methods grow, us", r"(connections|methods)_", "server_cpu_us_per_req"),
    ("Calls or messages a second, client and server", r"(pair|stream)_", "per_s"),
    ("One call at a time, median, us", r".*pair_.*p50", "p50_us"),
    ("By name and by address, processor time of client and server, us", r"by_name", "cpu_us"),
    ("From the start of a server to its first answer, ms", r"first_answer", "start_ms"),
    ("Memory of an idle connection, bytes", r"idle_connections", "rss_bytes_per_connection"),
]


def number(value):
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(title, rows):
    peers = [name for name in NAMES if any(name in row["peers"] for row in rows)]
    cells = [[title, "Nebula", *(NAMES[name] for name in peers)], ["---"] * (len(peers) + 2)]
    for row in rows:
        low, high = map(number, row["spread"])
        cells.append([row["case"], f"**{number(row['ours'])}** ({low}-{high})"])
        for name in peers:
            cells[-1].append(f"{number(row['peers'][name])} ({row['ratio'][name]:.2f})" if name in row["peers"] else "")
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def curves(rows, case, metric, label="", scale=lambda x, y: y):
    """{name: [(x, y)]} of the cases that are called so and end in x."""
    found = {}
    for row in rows:
        if row["metric"] == metric and (at := re.fullmatch(case + r"_(\d+)", row["case"])):
            x = int(at.group(1))
            for name, value in {"nebula": row["ours"], **row["peers"]}.items():
                found.setdefault(NAMES[name] + label, []).append((x, scale(x, value)))
    return {name: found[name] for known in NAMES.values() if (name := known + label) in found}


def pictures(rows):
    """{file: SVG} of what was measured."""
    p50, p99 = curves(rows, "load", "p50_us"), curves(rows, "load", "p99_us", " p99")
    latency = {name: curve for pair in zip(p50.items(), p99.items()) for name, curve in pair}
    memory = curves(rows, "idle_connections", "rss_bytes_per_connection", scale=lambda x, y: x * y / 2**20)
    found = {
        "throughput": ("Throughput: 20 bytes, one connection", "calls in flight", "calls a second",
                       curves(rows, "load", "per_s")),
        "latency": ("Latency: 20 bytes, one connection", "calls in flight", "us, median and p99", latency),
        "connections": ("Processor time as connections grow", "connections, one call in flight on each", "us a request",
                        curves(rows, "connections", "server_cpu_us_per_req")),
        "memory": ("Memory of idle connections", "connections", "MiB", memory),
    }
    return {f"{name}.svg": chart.line_chart(*words) for name, words in found.items() if words[3]}


def goals_table(results):
    """What was promised, and what it is."""
    lines = ["| Nebula's share, or figure | promised | measured |", "|---|---|---|"]
    for goal in results["goals"]:
        low, high = (f"{each:,.4g}" for each in goal["spread"])
        lines.append(f"| {goal['goal']} | {goal['bound']} | **{goal['value']:,.4g}** ({low}-{high}) |")
    return "\n".join(lines) + "\n"


def languages_table(results):
    """Each language's own gRPC library, and Nebula."""
    lines = [f"| medians of {results['rounds']} rounds of {results['seconds']:g} s | | Nebula | its own gRPC | times better | promised |",
             "|---|---|---|---|---|---|"]
    for row in results["rows"]:
        low, high = row["spread"]
        lines.append(f"| {row['language']} | {row['what']} | {number(row['ours'])} | {number(row['theirs'])} | "
                     f"**{row['times']:.1f}** ({low:.1f}-{high:.1f}) | {row['promise']} |")
    return "\n".join(lines) + "\n"


def put(page, first, text):
    """Replaces what stands between a page's line `first` and the next <!-- end -->. False: it has no such lines."""
    before, mark, rest = page.read_text().partition(f"{first}\n")
    _, end, after = rest.partition("<!-- end -->\n")
    if mark and end:
        page.write_text(f"{before}{mark}\n{text}\n{end}{after}")
    else:
        print(f"{page} has no lines {first} and <!-- end -->")
    return bool(mark and end)


def page_text(results, files):
    machine, how, rows = results["machine"], results["how"], results["rows"]
    text = (f"Medians of {how['rounds']} rounds of {how['seconds']} s on {machine['processors']} processors "
            f"({machine['architecture']}, Linux {machine['kernel']}). In brackets: for Nebula the least and the most, "
            "for the others Nebula's share of theirs, as the median over the rounds.\n\n")
    for title, pattern, metric in TABLES:
        if chosen := [row for row in rows if row["metric"] == metric and re.match(pattern, row["case"])]:
            text += table(title, chosen) + "\n"
    return text + "\n".join(f"![{file.removesuffix('.svg')}](performance/{file})" for file in files) + "\n"


def put_speed(page, source, is_partial_fine):
    """What speed_bench.py has measured. False: there is nothing that may stand in the page."""
    if not source.exists():
        print(f"{source} is not there: make bench")
        return False
    results = json.loads(source.read_text())
    if not results["how"]["is_whole"] and not is_partial_fine:
        print(f"{source} is of a part of the cases, or of a quick run: make bench")
        return False
    svgs = pictures(results["rows"])
    readme, folder = page.parent.parent / "README.md", page.parent / "performance"
    if not put(page, "<!-- generated -->", page_text(results, svgs)):
        return False
    if readme.exists() and not put(readme, "<!-- goals -->", goals_table(results)):
        return False
    for file, svg in svgs.items():
        (folder / file).write_text(svg)
    shutil.copyfile(source, folder / "results.json")
    print(f"{page}: {len(results['rows'])} rows, {len(svgs)} pictures")
    return True


def put_languages(page, source):
    """The same of what languages/run.py has measured."""
    if not source.exists():
        print(f"{source} is not there: make bench-languages")
        return False
    results = json.loads(source.read_text())
    if not put(page, "<!-- languages -->", languages_table(results)):
        return False
    shutil.copyfile(source, page.parent / "performance/languages.json")
    print(f"{page}: {len(results['rows'])} rows of languages")
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--partial", action="store_true")
    parser.add_argument("results", nargs="?", type=pathlib.Path, default=ROOT / "build/bench/results.json")
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default=ROOT / "docs")
    options = parser.parse_args()
    page = options.folder / "performance.md"
    (options.folder / "performance").mkdir(exist_ok=True)
    rendered = [put_speed(page, options.results, options.partial),
                put_languages(page, options.results.parent / "languages.json")]
    return 0 if any(rendered) else 1


if __name__ == "__main__":
    sys.exit(main())

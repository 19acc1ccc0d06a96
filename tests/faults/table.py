# faults/table.py - what was measured, as lines for who waits and as a table for docs/faults.md.
import os
import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/faults.md"
BEGIN, END = "<!-- measured -->", "<!-- end of what was measured -->"
PEERS_BEGIN, PEERS_END = "<!-- peers -->", "<!-- end of peers -->"


def heading(stage, most):
    return (f"{stage.rate:,} calls a second of the {most:,.0f} that the cluster could take, half of them idempotent, "
            f"and 50 long streams, on {os.cpu_count()} processors with a load of {os.getloadavg()[0]:.0f}")


def line(result):
    verdict = "FAIL" if result["broken"] else "PASS"
    text = "; ".join(result["measured"])
    row = f"{result['row']:>3} | {result['fault']} | {result['target']} | {text} | {verdict}"
    return row + "".join(f"\n      {each}" for each in result["broken"])


def render(results):
    """Puts the table into the page, between its marks."""
    rows = [f"Half of the calls are idempotent, and beside them run 50 long streams, on {os.cpu_count()} processors. Load is",
            "that of the machine, in the minute before a row began: what other programs take shows in latencies.", "",
            "| # | what happens | what is promised | measured | calls/s | load | |",
            "|---|---|---|---|---|---|---|"]
    for result in results:
        verdict = "**not kept**" if result["broken"] else "kept"
        measured = "; ".join(result["measured"] or result["broken"])
        columns = (result["row"], result["fault"], result["target"], measured, f"{result['rate']:,}",
                   f"{result['load']:.0f}", verdict)
        rows.append(f"| {' | '.join(columns)} |")
    put(rows, BEGIN, END)


def render_peers(rate, names, sides):
    """sides: what was asked, and what came of it with each of these."""
    rows = [f"Measured with {rate:,} calls a second of one client in Go, to servers in Go; load {os.getloadavg()[0]:.1f}.", "",
            f"| what happens | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    put(rows + [f"| {' | '.join(side)} |" for side in sides], PEERS_BEGIN, PEERS_END)


def put(lines, begin, end):
    before, rest = PAGE.read_text().split(begin)
    PAGE.write_text(before + begin + "\n" + "\n".join(lines) + "\n" + end + rest.split(end)[1])

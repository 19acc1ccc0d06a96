# faults/table.py - what was measured, as lines for who waits and as a table for docs/faults.md.
import os
import pathlib

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/faults.md"
BEGIN, END = "<!-- measured -->", "<!-- end -->"


def heading(stage, most):
    of = f"40 % of the {most:,.0f} that the cluster took" if most else "as it was asked for"
    return (f"{stage.rate:,} calls a second ({of}), half of them idempotent, and 50 long streams; "
            f"{os.cpu_count()} processors; load {os.getloadavg()[0]:.1f} at the start")


def line(result):
    verdict = "FAIL" if result["broken"] else "PASS"
    text = "; ".join(result["measured"])
    row = f"{result['row']:>3} | {result['fault']} | {result['target']} | {text} | {verdict}"
    return row + "".join(f"\n      {each}" for each in result["broken"])


def render(head, results):
    """Puts the table into the page, between its marks."""
    rows = [f"Measured with {head}.", "", "| # | what happens | what is promised | measured | |", "|---|---|---|---|---|"]
    for result in results:
        verdict = "**not kept**" if result["broken"] else "kept"
        measured = "; ".join(result["measured"] or result["broken"])
        rows.append(f"| {result['row']} | {result['fault']} | {result['target']} | {measured} | {verdict} |")
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(rows) + "\n" + END + rest.split(END)[1])

#!/usr/bin/env python3
# tests/docs.py - what the documentation names must be there.
#
# Looks at every .md file: relative links lead somewhere, a path in a code span is a file of ours, and so is a lone file
# name; a `Class::function` and a `function()` occur in the sources; a block of code under <!-- from: path --> stands in
# that file, line by line. Under <!-- not there yet --> the names must be missing from nebula.h. And core/README.md has
# every file of core, and docs/policies the pictures of its runs, each shown somewhere. Prints `file:line: what is wrong`, one line each.
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/pictures"))
import draw  # noqa: E402

ENDINGS = "h|hpp|c|cc|go|java|js|ts|py|pyi|sh|md|txt|map|in|proto|toml|i"
PATH = re.compile(rf"[\w./-]*\w\.(?:{ENDINGS})")
# Of other people, or made by a build.
FOREIGN = {"uv.h", "config.h"}
MEMBER = re.compile(r"(?:[\w:]+::)?(\w+)(?:::|\.)(~?\w+)(?:\(\))?")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

problems = []


def files():
    for path in ROOT.rglob("*"):
        name = str(path.relative_to(ROOT))
        if path.is_file() and not re.match(r"(build|\.git)/|(.*/)?(__pycache__|node_modules)/", name):
            yield name


NAMES = set(files())
SOURCES = {
    name: set(re.findall(r"\w+", (ROOT / name).read_text(errors="replace")))
    for name in NAMES
    if name.startswith(("core/", "capi/", "bindings/", "docs/examples/", "tests/"))
    and name.endswith((".h", ".cc", ".c", ".go", ".java", ".js", ".ts", ".py", ".pyi"))
}


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(name):
    return {slug(match) for match in re.findall(r"^#+ (.*)$", (ROOT / name).read_text(), re.M)}


def check_link(folder, target):
    if re.match(r"\w+:", target):
        return None
    path, _, anchor = target.partition("#")
    there = (folder / path).resolve() if path else None
    if there is not None and not there.exists():
        return f"link to {target}, which is not there"
    if anchor and there is not None and there.suffix == ".md" and anchor not in anchors(there.relative_to(ROOT)):
        return f"link to {target}, and there is no such heading"
    return None


def check_span(folder, span):
    """A code span: only what looks like one of our files or functions can be wrong."""
    if PATH.fullmatch(span):
        is_ours = any(name == span or name.endswith("/" + span) for name in NAMES) or (folder / span).is_file()
        return None if is_ours or span in FOREIGN else f"names the file {span}, which is not there"
    member = MEMBER.fullmatch(span)
    if member and "::" in span or member and re.fullmatch(r"[A-Z]\w*\.\w+(\(\))?", span):
        if not any(set(member.groups()) <= words for words in SOURCES.values()):
            return f"names {span}, which no source has"
    function = re.fullmatch(r"(\w+)\(\)", span) or re.fullmatch(r"((?:nebula|NEBULA)_\w+)", span)
    if function and not function.group(1).endswith("_") and not any(function.group(1) in words for words in SOURCES.values()):
        return f"names {span}, which no source has"
    return None


def check_missing(span):
    if re.fullmatch(r"nebula_\w+|NEBULA_\w+", span) and span in SOURCES["capi/nebula.h"]:
        return f"says that {span} is not there yet, and it is"
    return None


def check_quote(source, lines):
    if source not in NAMES:
        return f"quotes {source}, which is not there"
    text = [line.rstrip() for line in (ROOT / source).read_text().splitlines()]
    wanted = [line.rstrip() for line in lines]
    for at in range(len(text) - len(wanted) + 1):
        if text[at : at + len(wanted)] == wanted:
            return None
    missing = next((line for line in wanted if line not in text), wanted[0])
    return f"quotes {source}, where this is not (any more): {missing.strip()}"


def check(name):
    folder = (ROOT / name).parent
    source, block, begin, is_missing = None, None, 0, False
    for number, line in enumerate((ROOT / name).read_text().splitlines(), 1):
        found = []
        if line.lstrip().startswith("```"):
            if block is None:
                block, begin = [], number
            else:
                if source:
                    found.append(check_quote(source, block))
                source, block = None, None
        elif block is not None:
            block.append(line)
        elif comment := re.fullmatch(r"<!-- from: (\S+) -->", line):
            source = comment.group(1)
        elif line == "<!-- not there yet -->":
            is_missing = True
        else:
            is_missing = is_missing and not line.startswith("#")
            found += [check_link(folder, target) for target in LINK.findall(line)]
            found += [check_missing(span) if is_missing else check_span(folder, span) for span in re.findall(r"`([^`]+)`", line)]
        problems.extend(f"{name}:{number}: {text}" for text in found if text)
    if block is not None:
        problems.append(f"{name}:{begin}: this block has no end")


def check_map():
    """core/README.md: every file of core, where its folder's table is."""
    text = (ROOT / "core/README.md").read_text()
    parts = {part.split(":")[0].split("\n")[0].strip(): part for part in re.split(r"^## ", text, flags=re.M)[1:]}
    for name in sorted(NAMES):
        if not name.startswith("core/") or not name.endswith((".h", ".cc")):
            continue
        folder, _, rest = name.removeprefix("core/").partition("/")
        part, shown = (folder, rest) if rest else ("on top", folder)
        if f"`{shown}`" not in parts.get(part, ""):
            problems.append(f"core/README.md:1: its part \"{part}\" does not have `{shown}`")


def check_pictures():
    """docs/policies: what tests/pictures/draw.py makes of runs.json; unit_docs looks at the runs themselves."""
    folder, page = ROOT / "docs/policies", (ROOT / "docs/policies.md").read_text()
    drawn = draw.pictures(json.loads((folder / "runs.json").read_text()))
    there = {path.name: path.read_text() for path in folder.glob("*.svg")}
    for name in sorted(drawn.keys() | there.keys()):
        if drawn.get(name) != there.get(name):
            problems.append(f"docs/policies/{name}:1: is not what the runs show; make pictures")
        if f"(policies/{name})" not in page:
            problems.append(f"docs/policies.md:1: does not show policies/{name}")


def main():
    pages = sorted(name for name in NAMES if name.endswith(".md"))
    for name in pages:
        check(name)
    check_map()
    check_pictures()
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"docs: {len(pages)} pages, {len(problems)} problems")
    return 1 if problems or not pages else 0


if __name__ == "__main__":
    sys.exit(main())

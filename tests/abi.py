#!/usr/bin/env python3
# tests/abi.py - holds nebula.h to the ABI that was accepted last.
#
# usage: tests/abi.py                    fails if the header's ABI differs from the accepted one
#        tests/abi.py --accept           accepts what was added, after showing it
#        tests/abi.py --accept --break   accepts what breaks programs built before, too: a new major, or before 1.0
#
# The accepted ABI is capi/abi: `symbols`, the functions; `nebula.abi`, their signatures and the types in them as abidw
# sees them; `layout.h`, what has a number, as static assertions that the engine and every binding include. All three
# are written here, from nebula.h and nebula.map alone: the engine's own types are nobody's affair, and that its functions
# are those of the header is what its compiler checks. tests/exports.py sees to the library.
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

CAPI = pathlib.Path(__file__).resolve().parent.parent / "capi"
HEADER, MAP, ACCEPTED = CAPI / "nebula.h", CAPI / "nebula.map", CAPI / "abi"
FILES = ("symbols", "nebula.abi", "layout.h")

# Structs with a `size` may grow at their end: options, and what nebula_call_describe fills.
MAY_GROW = """
[suppress_type]
  name_regexp = ^nebula_([a-z]+_options|tls|call_info)$
  has_data_member_inserted_at = end
"""

LAYOUT = """\
/* layout.h - every number of ABI {version} as an assertion; written by tests/abi.py --accept, not by hand.
 *
 * For the engine, for C and C++, and for the native part of a binding; others take their own tables from here. A struct's
 * size is what it was when accepted: those with a `size` may grow at their end. */
#ifndef NEBULA_ABI_LAYOUT_H
#define NEBULA_ABI_LAYOUT_H
#include "nebula.h"
#ifdef __cplusplus
#define NEBULA_ASSERT(condition) static_assert(condition, #condition)
#else
#define NEBULA_ASSERT(condition) _Static_assert(condition, #condition)
#endif
#define NEBULA_VALUE(name, value) NEBULA_ASSERT((name) == (value))
#define NEBULA_SIZE(type, size) NEBULA_ASSERT(sizeof(type) == (size))
#define NEBULA_FIELD(type, field, at, size) NEBULA_ASSERT(offsetof(type, field) == (at) && sizeof(((type*)0)->field) == (size))

{rows}

#undef NEBULA_FIELD
#undef NEBULA_SIZE
#undef NEBULA_VALUE
#undef NEBULA_ASSERT
#endif
"""


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def declarations(header):
    """[("const char *", "nebula_version", "void")...]: result, name, parameters."""
    found = re.findall(r"NEBULA_API\s+([^;(]*?)(nebula_\w+)\s*\(([^;]*)\)\s*;", header)
    return [(result.strip(), name, " ".join(parameters.split())) for result, name, parameters in found]


def constants(header):
    found = re.findall(r"#define (NEBULA_ABI_\w+) (\d+)", header)
    for body in re.findall(r"enum \{(.*?)\};", header, re.S):
        found += re.findall(r"(NEBULA_\w+)\s*=\s*(-?\d+)", body)
    return found


def structs(dump):
    """{"nebula_event": (64, [("call", 0)...])}: bytes, and the fields with their offsets, as the dump has them."""
    found = {}
    for struct in xml.parse(dump).iter("class-decl"):
        if struct.get("is-declaration-only") != "yes":
            fields = [(field.find("var-decl").get("name"), int(field.get("layout-offset-in-bits")) // 8)
                      for field in struct.iter("data-member")]
            found[struct.get("name")] = (int(struct.get("size-in-bits")) // 8, fields)
    return found


def layout(header, dump, folder):
    values = dict(constants(header))
    rows = [f"NEBULA_VALUE({name}, {value});" for name, value in values.items()]
    types = structs(dump)
    # The dump tells a field's place, the compiler its size.
    wanted = [(name, field) for name, (_, fields) in types.items() for field, _ in fields]
    program = '#include <stdio.h>\n#include "nebula.h"\nint main(void) {\n'
    program += "".join(f'printf("%zu\\n", sizeof((({name}*)0)->{field}));\n' for name, field in wanted) + "}\n"
    (folder / "sizes.c").write_text(program)
    run("cc", "-I", CAPI, folder / "sizes.c", "-o", folder / "sizes")
    sizes = dict(zip(wanted, run(folder / "sizes").split()))
    for name, (size, fields) in sorted(types.items()):
        rows.append(f"NEBULA_SIZE({name}, {size});")
        rows += [f"NEBULA_FIELD({name}, {field}, {at}, {sizes[name, field]});" for field, at in fields]
    version = f"{values['NEBULA_ABI_MAJOR']}.{values['NEBULA_ABI_MINOR']}"
    return LAYOUT.replace("{version}", version).replace("{rows}", "\n".join(rows))


def describe(folder):
    """Writes the three files of today's header into `folder`."""
    header = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.S)
    functions = declarations(header)
    if len(functions) != len(re.findall(r"\bNEBULA_API\s+\w", re.sub(r"#.*", "", header))):
        sys.exit(f"abi: {HEADER.name} has a declaration that this script cannot read")
    stub = '#include "nebula.h"\n'
    stub += "".join(f"{result} {name}({parameters}) {{{'' if result == 'void' else ' return 0; '}}}\n"
                    for result, name, parameters in functions)
    (folder / "stub.c").write_text(stub)
    library = folder / "libnebula.so"
    run("cc", "-g", "-w", "-shared", "-fPIC", "-I", CAPI, f"-Wl,--version-script={MAP}", "-Wl,-soname,libnebula.so.1",
        "-nostdlib", folder / "stub.c", "-o", library)
    run("abidw", "--no-comp-dir-path", "--no-corpus-path", "--no-show-locs", "--out-file", folder / "nebula.abi", library)
    dump = (folder / "nebula.abi").read_text().replace(str(folder) + "/", "")
    (folder / "nebula.abi").write_text(dump)
    symbols = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    (folder / "symbols").write_text("".join(f"{name}\n" for name in sorted(symbols)))
    (folder / "layout.h").write_text(layout(header, folder / "nebula.abi", folder))


def compare(folder):
    """(what breaks programs built before, what was merely added), each as lines for people."""
    (folder / "may_grow").write_text(MAY_GROW)
    told = subprocess.run(["abidiff", "--suppressions", str(folder / "may_grow"), str(ACCEPTED / "nebula.abi"),
                           str(folder / "nebula.abi")], stdout=subprocess.PIPE, text=True)
    # The exit code calls a field in the middle of a struct harmless: the summary does not.
    summary = re.findall(r"changes summary: (\d+) Removed, (\d+) Changed(?: \(.*?\))?, (\d+) Added", told.stdout)
    breaks = [told.stdout] if told.returncode & 3 or not all(a == b == "0" for a, b, _ in summary) else []
    if told.returncode and not summary:
        breaks = breaks or [told.stdout]
    added = []
    for file in ("symbols", "layout.h"):
        old, new = [set((where / file).read_text().splitlines()) for where in (ACCEPTED, folder)]
        gone = [line for line in old - new if not re.match(r"NEBULA_SIZE|NEBULA_VALUE\(NEBULA_ABI_MINOR|/\*|.* as an assertion", line)]
        breaks += [f"{file}: gone: {line}" for line in sorted(gone)]
        added += [f"{file}: new: {line}" for line in sorted(new - old)]
    return breaks, added


def main(arguments):
    if set(arguments) - {"--accept", "--break"} or arguments == ["--break"]:
        sys.exit("usage: tests/abi.py [--accept [--break]]")
    if shutil.which("abidw") is None:
        print("abi skipped: no abidw here; Debian has it in abigail-tools")
        return 1 if os.environ.get("CI") else 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        describe(folder)
        is_first = not (ACCEPTED / "nebula.abi").exists()
        breaks, added = ([], []) if is_first else compare(folder)
        for line in breaks + added:
            print(line)
        if "--accept" in arguments:
            if breaks and "--break" not in arguments:
                sys.exit("abi: not accepted: programs built before would break (above); if they may: --accept --break")
            ACCEPTED.mkdir(exist_ok=True)
            for file in FILES:
                shutil.copyfile(folder / file, ACCEPTED / file)
            print(f"abi: accepted into {ACCEPTED.relative_to(CAPI.parent)}")
            return 0
        if is_first or breaks or added:
            print("abi: nebula.h is not what was accepted; if it is meant so: tests/abi.py --accept (capi/README.md)")
            return 1
        print(f"abi: {len((folder / 'symbols').read_text().split())} symbols, as accepted")
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

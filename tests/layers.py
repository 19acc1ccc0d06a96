#!/usr/bin/env python3
# tests/layers.py - the rules of the house that a compiler does not check, as one quick test.
#
# A folder of core includes itself and the folders below it. Vendor headers, locks and atomics stay in the files named
# here. Every source file says in its first line what it is. Prints `file:line: what is wrong`, one line each, and
# returns 1 if there was one. To allow something new, add it here with its reason: the diff is the discussion.
import fnmatch
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Bottom to top. "engine" is core/*.h and core/*.cc, "capi" the border; whatever is further right may see what is left.
LAYERS = ["base", "loop", "transport", "http2", "rpc", "service", "engine", "capi"]

# Vendor headers, and the .cc files that may include them. A header never may: at most it forward-declares a struct.
VENDORS = {
    r"uv\.h|uv/.*": ["core/loop/*.cc", "core/transport/*.cc"],
    r"nghttp2/.*": ["core/http2/hpack.cc"],
    r"protobuf-c/.*|.*\.pb-c\.h": ["core/rpc/*.cc", "core/service/*.cc"],
    r"openssl/.*": ["core/transport/tls_*.cc"],
    r"zlib\.h": ["core/rpc/gzip.cc"],
    r"simdjson\.h": ["core/rpc/schema*.cc", "core/service/service_config.cc"],
    r"zstd(_errors)?\.h": ["core/rpc/zstd.cc"],
    r"(google|grpc|grpcpp|boost|absl|criterion|pybind11)/.*|Python\.h": [],
}

# The files in which threads meet. Everywhere else an object lives on one loop, and others `post` to it.
THREADED = {
    "core/base/bytes.h": "the count of a Block: a slice may be released by another thread than its maker",
    "core/base/bytes.cc": "the same count",
    "core/base/pool.cc": "each thread's pool",
    "core/base/room.h": "what is kept for a peer: written on its loop, looked at by whoever answers",
    "core/loop/mailbox.*": "many writers, one reader: how a post crosses",
    "core/loop/loop_thread.*": "a loop with a thread of its own",
    "core/loop/housekeeper.*": "the driver lock of a loop, and the thread that drives loops that nobody polls",
    "core/loop/thread.*": "how each of the engine's threads begins",
    "core/loop/fork.*": "the process's fork count, read by every thread",
    "core/loop/keeper.*": "the thread that holds the locks of the registry's files",
    "core/transport/mem.*": "the hub in which ends on different loops find each other",
    "core/rpc/nested_retries.*": "the retries of calls on several loops that are made for the same one",
    "core/service/commons.*": "what the channels of several loops tell each other gathers there",
    "core/engine.*": "the start of threads, by whichever loop first needs them",
    "capi/border.h": "an engine's lists of loops and of I/O threads: queues come and go on threads of their own",
    "capi/channel.cc": "a channel's method numbers: any thread may ask for one",
    "capi/calls.cc": "the list of loops; how much any thread has posted",
    "capi/calls.h": "how much any thread has posted",
    "capi/io_thread.cc": "the list of I/O threads",
    "capi/inline_queue.h": "whether any thread has asked for the descriptor",
    "capi/survey.cc": "the list of loops: each is asked",
    "capi/queue.h": "how many calls a queue has, by which loops on other threads choose one",
    "capi/threaded_queue.h": "one poller at a time; events on their way from I/O threads",
    "capi/handle.*": "the process's table of ids: any thread may name a call",
}
CROSSING = re.compile(
    r"#\s*include\s*<(?:mutex|shared_mutex|condition_variable|atomic|semaphore|latch|barrier|thread|future|pthread\.h|stdatomic\.h)>"
    r"|\bstd::(?:recursive_|timed_|shared_)?mutex\b|\bstd::(?:lock_guard|unique_lock|scoped_lock|shared_lock|call_once)\b"
    r"|\bstd::condition_variable|\bstd::atomic|\bstd::j?thread\b|\bthread_local\b"
    r"|\bpthread_(?:mutex|rwlock|spin|cond|create|once|atfork)|\b__atomic_|\b__sync_"
)

LINES_MAX = 600  # of a file in core: beyond it there is a seam to be found
SOURCES = {".h", ".hpp", ".c", ".cc", ".go", ".java", ".py", ".sh", ".proto", ".pyi", ".js", ".ts"}
HEADERLESS = {
    "examples/1_hello/hello.py": "the README shows it letter by letter",
    "proto/grpc/health/v1/health.proto": "gRPC's own file",
    "examples/1_hello/go/clockpb/clock.pb.go": "made by protoc-gen-go",
    **{f"{stem}_pb{ending}": "made by protoc-gen-es"
       for stem in ("examples/1_hello/node/clock", "bindings/node/test/echo") for ending in (".js", ".d.ts")},
    "tests/bench/languages/node/load_pb.js": "made by protoc-gen-es",
    "tests/bindings/go/conformancepb/conformance.pb.go": "made by protoc-gen-go",
    "tests/bindings/node/conformance_pb.js": "made by protoc-gen-es",
}
# What a program in examples/ may include: nebula.h and ours over it, its own generated messages, and what every libc or libstdc++ has.
EXAMPLE_INCLUDE = re.compile(
    r"nebula\.h(pp)?|nebula_protobuf_c\.h|iostream|regex|string|[\w.]+\.pb(-c)?\.h|(assert|ctype|errno|fcntl|inttypes|limits|locale|math|poll|pthread|signal|stdalign|stdarg"
    r"|stdbool|stddef|stdint|stdio|stdlib|string|time|unistd)\.h|sys/\w+\.h"
)

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
problems = []


def problem(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def without_comments(text):
    """The same lines without comments and without the insides of string literals; #include lines stay as they are."""

    def blank(match):
        found = match.group(0)
        return found if found.startswith("#") else re.sub(r"[^\n]", " ", found)

    return re.sub(r'#\s*include\s*(?:"[^"\n]*"|<[^>\n]*>)|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def layer_of(path):
    parts = path.split("/")
    if parts[0] == "core":
        return parts[1] if len(parts) > 2 else "engine"
    return "capi"


def layer_of_include(name, path):
    """The layer that a quoted include reaches, or None if it names no file of ours."""
    for folder in ("core/", "capi/", path.rsplit("/", 1)[0] + "/", ""):
        if (ROOT / (folder + name)).is_file() and (folder + name).startswith(("core/", "capi/")):
            return layer_of(folder + name)
    return None


def allowed(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def check_first_line(path, lines):
    if path in HEADERLESS:
        return
    at = 1 if lines and lines[0].startswith("#!") else 0
    first = lines[at] if at < len(lines) else ""
    if path.endswith((".py", ".pyi")) and re.match(r'r?"""\S', first):
        return  # a docstring, which help() shows
    if path.endswith(".proto") and re.match(r"// \S", first):
        return  # its package says where it is
    match = re.match(r"(?://|/\*|#)\s*(\S+) - \S", first)
    if not match or not ("/" + path).endswith("/" + match.group(1)):
        problem(path, at + 1, f"the first line should say what this file is: \"{path.split('/', 1)[1]} - ...\"")


def check_core(path, lines):
    layer = layer_of(path)
    if layer not in LAYERS:
        problem(path, 1, f"core/{layer} is no layer; those are {' '.join(LAYERS)}")
        return
    if len(lines) > LINES_MAX and path.startswith("core/"):
        problem(path, LINES_MAX + 1, f"{len(lines)} lines, {LINES_MAX} are the bound: look for the seam")
    for number, line in enumerate(lines, 1):
        if not allowed(path, THREADED) and (found := CROSSING.search(line)):
            problem(path, number, f"{found.group(0).strip()}: locks, atomics and threads stay in the files that tests/layers.py names")
        include = INCLUDE.match(line)
        if not include:
            continue
        quote, name = include.groups()
        vendor = next((places for pattern, places in VENDORS.items() if re.fullmatch(pattern, name)), None)
        if vendor is not None:
            if path.endswith((".h", ".hpp")):
                problem(path, number, f"{name}: a header never includes a vendor's header")
            elif not allowed(path, vendor):
                problem(path, number, f"{name}: only {' '.join(vendor) or 'nobody in core or capi'} may include it")
        elif quote == '"':
            reached = layer_of_include(name, path)
            if reached is None:
                problem(path, number, f"{name}: there is no such file in core or capi")
            elif LAYERS.index(reached) > LAYERS.index(layer):
                problem(path, number, f"{name}: {layer} may not know {reached}, which is above it")


def check_example(path, lines):
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include and not EXAMPLE_INCLUDE.fullmatch(include.group(2)):
            problem(path, number, f"{include.group(2)}: an example includes nebula.h or what is built on it, its own messages and libc only")


def check_lists():
    """A file that was named here once, and is gone, would be an open door for the next one of that name."""
    for pattern in [*THREADED, *HEADERLESS, *(place for places in VENDORS.values() for place in places)]:
        if not any(ROOT.glob(pattern)):
            problem("tests/layers.py", 1, f"names {pattern}, and there is no such file")


def lines_of(path, code, sizes):
    """Counts lines of a binding without empty ones and tests, and in the family of C without comments: it is to stay thin."""
    folder, _, rest = path.removeprefix("bindings/").partition("/")
    if path.startswith("bindings/") and path not in HEADERLESS and not re.search(r"(^|/)tests?/|_test\.go$|^peers/", rest):
        sizes[folder] = sizes.get(folder, 0) + sum(bool(line.strip()) for line in code)


def main():
    count, sizes = 0, {}
    check_lists()
    for top in ("core", "capi", "bindings", "cli", "docs", "examples", "proto", "scripts", "tests"):
        for file in sorted((ROOT / top).rglob("*")):
            path = str(file.relative_to(ROOT))
            others = re.search(r"(^|/)(build|node_modules|__pycache__|\.\w+)/", path)
            if file.suffix not in SOURCES or not file.is_file() or others:
                continue
            text = file.read_text(encoding="utf-8")
            lines = text.splitlines()
            if not text.strip():
                continue  # an empty __init__.py or conftest.py
            count += 1
            check_first_line(path, lines)
            code = without_comments(text).splitlines()
            lines_of(path, code, sizes)
            if file.suffix in (".h", ".hpp", ".c", ".cc"):
                if top in ("core", "capi"):
                    check_core(path, code)
                elif top == "examples":
                    check_example(path, code)
    print(*problems, sep="\n", end="\n" if problems else "")
    print("note: lines of the bindings: " + ", ".join(f"{name} {size:,}" for name, size in sorted(sizes.items())))
    print(f"layers: {count} files, {len(problems)} problems")
    return 1 if problems or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# scripts/bundled.py - the libraries that packages have inside, as archives that pkg-config finds in one folder.
#
# usage: scripts/bundled.py <folder>     build with PKG_CONFIG_PATH=<folder>/lib/pkgconfig
#
# Debian's archives of OpenSSL, zlib and protobuf-c may become part of a shared library, and are taken as they are.
# Those of libuv, nghttp2 and zstd may not, as their code is placed for programs only, and of simdjson there is none.
# They are built here, from Debian's own sources with its patches, which apt fetches by lists of its own; nothing
# outside the folder changes. What is there already is kept.
import os
import pathlib
import re
import shutil
import subprocess
import sys

# Debian's source: the module of pkg-config, where CMake finds it, what is built of it, the options, and the headers.
BUILT = {
    "libuv1": ("libuv", "uv", ".", "uv_a", [], ["include"]),
    "nghttp2": ("libnghttp2", "nghttp2", ".", "nghttp2_static",
                ["-DENABLE_LIB_ONLY=ON", "-DENABLE_STATIC_LIB=ON", "-DENABLE_SHARED_LIB=OFF"], ["lib/includes"]),
    "libzstd": ("libzstd", "zstd", "build/cmake", "libzstd_static",
                ["-DZSTD_BUILD_PROGRAMS=OFF", "-DZSTD_BUILD_SHARED=OFF", "-DZSTD_LEGACY_SUPPORT=OFF"], ["lib"]),
    "simdjson": ("simdjson", "simdjson", ".", "simdjson",
                 ["-DBUILD_SHARED_LIBS=OFF", "-DSIMDJSON_ENABLE_THREADS=OFF"], ["include"]),
}
# What is there several times, for each kind of processor or of data, is once or twice enough for short messages.
DEFINED = {"simdjson": "-DSIMDJSON_IMPLEMENTATION_ICELAKE=0 -DSIMDJSON_IMPLEMENTATION_WESTMERE=0",
           "libzstd": "-DHUF_FORCE_DECOMPRESS_X1 -DZSTD_FORCE_DECOMPRESS_SEQUENCES_SHORT -DZSTD_STRIP_ERROR_STRINGS"}
TAKEN = {"openssl": ["ssl", "crypto"], "zlib": ["z"], "libprotobuf-c": ["protobuf-c"]}


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def run(*command, folder=None):
    """Runs it in silence; its words are shown when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace")
    if done.returncode != 0:
        sys.exit(f"bundled: {' '.join(map(str, command))}:\n{done.stdout}")


def describe(folder, module, version, names, included):
    """The file that pkg-config reads; it comes last, for it says that the library is there."""
    file = folder / "lib/pkgconfig" / f"{module}.pc"
    file.parent.mkdir(parents=True, exist_ok=True)
    libraries = " ".join(f"-l{name}" for name in names)
    file.write_text(f"Name: {module}\nDescription: for packages of Nebula\nVersion: {version}\n"
                    f"Libs: -L{folder}/lib {libraries}\nCflags: {included}\n")


def take(folder, module, names):
    """Debian's archives, where they are the only ones: with a shared library beside them that would be linked."""
    version = output("pkg-config", "--modversion", module)
    place = pathlib.Path(output("pkg-config", "--variable=libdir", module))
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    for name in names:
        link = folder / f"lib/lib{name}.a"
        link.unlink(missing_ok=True)
        link.symlink_to(place / link.name)
    describe(folder, module, version, names, "")


def fetch(folder, packages):
    """Debian's sources of packages, with its patches: their folders by name."""
    apt, sources = folder / "apt", folder / "sources"
    shutil.rmtree(sources, ignore_errors=True)
    for needed in (apt / "lists/partial", apt / "cache/archives/partial", apt / "places", sources):
        needed.mkdir(parents=True, exist_ok=True)
    # The system's own places, asked for sources instead of programs.
    system = pathlib.Path("/etc/apt")
    for pattern in ("sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"):
        for file in system.glob(pattern):
            text = re.sub(r"^deb(?=\s)", "deb-src", file.read_text(), flags=re.M)
            text = re.sub(r"^Types:.*", "Types: deb-src", text, flags=re.M)
            (apt / "places" / file.name).write_text(text)
    options = {"Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": apt / "places",
               "Dir::State::Lists": apt / "lists", "Dir::Cache": apt / "cache", "APT::Sandbox::User": ""}
    get = ["apt-get", "-q", *(f"-o{name}={value}" for name, value in options.items())]
    # Some of the places, those of others, may have no sources: whether it was enough shows at the next step.
    subprocess.run([*get, "update"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run(*get, "source", "--download-only", *packages, folder=sources)
    for package in packages:
        run("dpkg-source", "--no-check", "-x", next(sources.glob(f"{package}_*.dsc")), sources / package)
    return {package: sources / package for package in packages}


def make(folder, package, source):
    """Builds its archive as Debian would, but for shared libraries, and lays it and its headers where we want them."""
    module, name, top, target, options, headers = BUILT[package]
    description = next(source.parent.glob(f"{package}_*.dsc")).read_text()
    version = re.search(r"^Version: (?:\d+:)?([\d.]+)", description, re.M).group(1)
    print(f"bundled: building {module} {version}", flush=True)
    built = source / "built"
    for language, variable in (("C", "CFLAGS"), ("CXX", "CXXFLAGS")):
        flags = output("dpkg-buildflags", "--get", variable) + " " + output("dpkg-buildflags", "--get", "CPPFLAGS")
        flags = f"{flags} {DEFINED.get(package, '')}".rstrip()
        options = [*options, f"-DCMAKE_{language}_FLAGS={flags} -ffunction-sections -fdata-sections",
                   f"-DCMAKE_{language}_VISIBILITY_PRESET=hidden"]
        if shutil.which("ccache"):
            options.append(f"-DCMAKE_{language}_COMPILER_LAUNCHER=ccache")
    run("cmake", "-S", source / top, "-B", built, "-G", "Ninja", "-DBUILD_TESTING=OFF", *options,
        "-DCMAKE_POSITION_INDEPENDENT_CODE=ON")
    run("cmake", "--build", built, "--target", target)
    for place in (*(source / header for header in headers), *(built / header for header in headers)):
        for file in place.rglob("*.h"):
            copy = folder / "include" / name / file.relative_to(place)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(next(built.rglob("*.a")), folder / f"lib/lib{name}.a")
    describe(folder, module, version, [name], f"-I{folder}/include/{name}")


def main(folder):
    folder = pathlib.Path(folder).resolve()
    known = {file.stem for file in folder.glob("lib/pkgconfig/*.pc")}
    if missing := [package for package, (module, *_) in BUILT.items() if module not in known]:
        os.environ.setdefault("CCACHE_BASEDIR", str(folder))
        for package, source in fetch(folder, missing).items():
            make(folder, package, source)
        shutil.rmtree(folder / "sources")
        shutil.rmtree(folder / "apt")
    for module, names in TAKEN.items():
        take(folder, module, names)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/bundled.py <folder>")
    main(sys.argv[1])

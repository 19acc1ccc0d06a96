#!/usr/bin/env python3
# scripts/packages.py - `make packages`: what is installed without this checkout, for this machine's kind.
#
# usage: build/venv/bin/python scripts/packages.py
#
# Into build/packages: an archive for C and C++, a wheel, a package for npm, a jar, a module for Go. Each has the engine
# inside with all that it needs but glibc, and the licences of all that; none compiles C++ where it is installed. What
# they are made of lies in build/packages/work and is kept, so that the next time only what has changed is built.
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OUT = ROOT / "build/packages"
WORK = OUT / "work"
BUNDLED, ENGINE = WORK / "bundled", ROOT / "build/bundled"  # as deep as build/release, so that ccache knows its objects
NOTICES = WORK / "NOTICES"
VERSION = re.search(r"project\(nebula VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
MACHINE = os.uname().machine
NAME = f"nebula-{VERSION}-linux-{MACHINE}"
C, STATIC = WORK / NAME, WORK / "static"
OTHER_NAMES = {"x86_64": ("x64", "amd64"), "aarch64": ("arm64", "arm64")}  # of Node, of Go
INSIDE = ["libuv1-dev", "libnghttp2-dev", "libssl-dev", "zlib1g-dev", "libzstd-dev", "libsimdjson-dev",
          "libprotobuf-c-dev"]


def run(*command, env=None, folder=ROOT):
    """Runs it in silence, its output is returned; its words are shown when it fails."""
    done = subprocess.run([str(part) for part in command], cwd=folder, env={**os.environ, **(env or {})}, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    if done.returncode != 0:
        sys.exit(f"packages: {' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout


def finds(folder):
    """The environment in which pkg-config finds what lies in a folder first."""
    return {"PKG_CONFIG_PATH": str(folder / "lib/pkgconfig")}


def linked():
    """That of a binding's build.sh, to have the engine inside, and libstdc++ and libgcc as well."""
    return {**finds(STATIC), "LDFLAGS": "-s -static-libstdc++ -static-libgcc -Wl,--gc-sections"}


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def done(pattern, file):
    """Puts a package where it belongs, in place of its last version."""
    for old in OUT.glob(pattern):
        old.unlink()
    shutil.copyfile(file, OUT / file.name)
    print(f"packages: {file.name}  {file.stat().st_size / 1e6:.1f} MB", flush=True)


def notices():
    """The licences of what is inside, as Debian has them."""
    text = "Inside of Nebula's packages there are, beside Nebula itself, the libraries that follow.\n"
    compiler = run("c++", "-dumpversion").split(".")[0]
    for package in [*INSIDE, f"gcc-{compiler.strip()}-base"]:
        copyright = pathlib.Path(f"/usr/share/doc/{package}/copyright")
        if not copyright.exists():
            sys.exit(f"packages: no {copyright}: its licence must go with it")
        text += f"\n\n==== {package} ====\n\n{copyright.read_text()}"
    NOTICES.write_text(text)


def c():
    """The engine, and the archive for C and C++: it may be unpacked anywhere."""
    run(sys.executable, "scripts/bundled.py", BUNDLED)
    run("cmake", "-S", ROOT, "-B", ENGINE, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DNEBULA_BUNDLED=ON",
        "-DNEBULA_TESTS=OFF", "-DNEBULA_EXAMPLES=OFF", "-DCMAKE_INSTALL_LIBDIR=lib", env=finds(BUNDLED))
    run("cmake", "--build", ENGINE, "--target", "nebula", "nebula_static")
    run("cmake", "--install", ENGINE, "--prefix", fresh(C), "--strip")
    for file in (ROOT / "LICENSE", NOTICES):
        shutil.copy(file, C)
    with tarfile.open(WORK / f"{NAME}.tar.gz", "w:gz") as archive:
        archive.add(C, NAME)
    done("nebula-*-linux-*.tar.gz", WORK / f"{NAME}.tar.gz")
    # For those packages that find it by pkg-config: without the shared library, so that they are linked to the archive.
    shutil.copytree(C, fresh(STATIC), ignore=shutil.ignore_patterns("*.so*", "cmake"), dirs_exist_ok=True)


def python():
    wheels = fresh(WORK / "wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-w", wheels, "bindings/python",
        f"--config-settings=build-dir={WORK / 'python'}", f"--config-settings=cmake.define.NEBULA_PACKAGE={C}")
    # pip installs wheels that say what they need of the system: the oldest glibc that will do.
    wheel = next(wheels.glob("*.whl"))
    said = run(sys.executable, "-m", "auditwheel", "show", wheel)
    platform = re.search(r'platform\s+tag:\s+"(manylinux_\w+)"', said)
    if not platform:
        sys.exit(f"packages: the wheel needs more than glibc:\n{said}")
    run(sys.executable, "-m", "wheel", "tags", "--remove", "--platform-tag", platform.group(1), wheel)
    done("nebula-*.whl", next(wheels.glob("*.whl")))


def node():
    source, folder = ROOT / "bindings/node", fresh(WORK / "node")
    for name in ("package.json", "README.md", "build.sh", "install.js"):
        shutil.copy(source / name, folder)
    for name in ("lib", "src"):
        shutil.copytree(source / name, folder / name)
    for file in (ROOT / "LICENSE", NOTICES):
        shutil.copy(file, folder)
    run("./build.sh", env=linked(), folder=folder)
    prebuilt = folder / f"prebuilt/linux-{OTHER_NAMES[MACHINE][0]}"
    prebuilt.mkdir(parents=True)
    (folder / "build/addon.node").rename(prebuilt / "addon.node")
    (folder / "build").rmdir()
    run("npm", "pack", "--silent", "--pack-destination", WORK, folder=folder)
    done("nebula-*.tgz", WORK / f"nebula-{VERSION}.tgz")


def java():
    run("mvn", "-q", "-B", "-f", "bindings/java", "package", "-Dmaven.test.skip=true",
        f"-Dnebula.build={WORK / 'java'}", env=linked())
    jar = WORK / f"nebula-{VERSION}.jar"
    shutil.copyfile(WORK / "java/nebula.jar", jar)
    with zipfile.ZipFile(jar, "a", zipfile.ZIP_DEFLATED) as archive:
        for file in (ROOT / "LICENSE", NOTICES):
            archive.write(file, f"META-INF/{file.name}")
    done("nebula-*.jar", jar)


def go():
    """A module's zip, as Go's proxies have them. The tests stay here: they need the rest of the checkout."""
    source = ROOT / "bindings/go"
    files = [file for file in source.iterdir() if file.is_file() and not file.name.endswith("_test.go")]
    files = {file.name: file for file in [*files, *(source / "_bundled").iterdir(), ROOT / "LICENSE", NOTICES]}
    files["nebula.h"] = ROOT / "capi/nebula.h"
    files[f"libnebula_linux_{OTHER_NAMES[MACHINE][1]}.a"] = STATIC / "lib/libnebula.a"
    module = re.search(r"^module (\S+)", (source / "go.mod").read_text(), re.M).group(1)
    package = WORK / f"nebula-go-{VERSION}.zip"
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in sorted(files.items()):
            archive.write(file, f"{module}@v{VERSION}/{name}")
    done("nebula-go-*.zip", package)


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    notices()
    for package in (c, python, node, java, go):
        package()


if __name__ == "__main__":
    main()

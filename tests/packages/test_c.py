"""The archive for C and C++, and what `make install` installs: by pkg-config, and by CMake's find_package."""

import pathlib
import shlex
import shutil
import subprocess

import pytest
from kit import HELLO, ROOT, Service, assert_whole, environment, output


@pytest.fixture(params=["prefix", "installed"])
def either(request):
    return request.getfixturevalue(request.param)


def library_of(service):
    return [file for file in service.mapped() if file.name.startswith("libnebula")]


def test_the_shared_library_is_whole(prefix):
    assert_whole((prefix / "lib/libnebula.so").resolve(), r"nebula_\w+", r"NEBULA_[\d.]+")


def test_the_archive_shows_the_abi_alone(prefix):
    names = subprocess.check_output(["nm", "-g", "--defined-only", "-P", prefix / "lib/libnebula.a"], text=True)
    names = [line.split()[0] for line in names.splitlines()[1:]]
    assert "nebula_poll" in names
    assert not [name for name in names if not name.startswith("nebula_")]


def test_a_project_of_cmake_finds_it(either, place):
    project = place / f"outside-{either.name}"
    shutil.copytree(ROOT / "tests/packages/outside", project)
    for source in ("hello.cc", "greet.c"):
        shutil.copy(HELLO / source, project)
    output("cmake", "-S", ".", "-B", "built", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={either}", folder=project)
    output("cmake", "--build", "built", folder=project)
    built = project / "built"
    with Service(built / "hello", folder=place) as hello:
        assert [file.parent for file in library_of(hello)] == [(either / "lib/libnebula.so").resolve().parent]
        assert output(built / "greet", folder=place) == 'OK  "Hello Ada!"\n'
    if (either / "lib/libnebula.a").exists():
        with Service(built / "hello_static", folder=place) as hello:
            assert library_of(hello) == []
            assert output(built / "greet", folder=place) == 'OK  "Hello Ada!"\n'


def test_pkg_config_finds_it(either, place):
    env = environment(place, PKG_CONFIG_PATH=str(next(either.glob("lib*/**/nebula.pc")).parent))
    flags = shlex.split(output("pkg-config", "--cflags", "--libs", "nebula", folder=place, env=env))
    libdir = pathlib.Path(output("pkg-config", "--variable=libdir", "nebula", folder=place, env=env).strip()).resolve()
    flags.append(f"-Wl,-rpath,{libdir}")
    output("c++", "-std=c++17", HELLO / "hello.cc", *flags, "-pthread", "-o", "hello", folder=place)
    output("cc", HELLO / "greet.c", *flags, "-o", "greet", folder=place)
    with Service(place / "hello", folder=place) as hello:
        assert [file.parent for file in library_of(hello)] == [libdir]
        assert output(place / "greet", folder=place) == 'OK  "Hello Ada!"\n'
        if (archive := libdir / "libnebula.a").exists():
            flags = shlex.split(output("pkg-config", "--static", "--cflags", "--libs", "nebula", folder=place, env=env))
            flags = [archive if flag == "-lnebula" else flag for flag in flags]
            output("cc", HELLO / "greet.c", *flags, "-o", "greet_static", folder=place)  # not a C++ compiler
            assert output(place / "greet_static", folder=place) == 'OK  "Hello Ada!"\n'

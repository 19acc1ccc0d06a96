"""The module for Go, unpacked, in a module that has a C compiler and nothing else of ours."""

import re
import shutil
import subprocess
import zipfile

import pytest
from kit import GLIBC, HELLO, Service, environment, output, package

CALL = """package main

import (
	"context"
	"fmt"
	"time"

	"example.org/nebula"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(nebula.Call[string](ctx, "hello.greet", nebula.M{"name": "Ada"}))
}
"""


@pytest.fixture(scope="module")
def project(place):
    with zipfile.ZipFile(package("nebula-go-*.zip")) as archive:
        archive.extractall(place)
    module = next((place / "example.org").iterdir())
    project = place / "project"
    shutil.copytree(HELLO / "go/hello", project / "hello")
    (project / "call").mkdir()
    (project / "call/main.go").write_text(CALL)
    (project / "go.mod").write_text(f"module project\n\ngo 1.19\n\nrequire example.org/nebula v0.0.0\n\n"
                                    f"replace example.org/nebula => {module}\n")
    return project


def build(project, *options, **more):
    """Builds both programs with a C compiler alone; whatever else could help fails."""
    env = environment(project.parent, **{"GOFLAGS": "-mod=mod", "CXX": "false", "PKG_CONFIG": "false", **more})
    output("go", "build", *options, "-o", "built/", "./...", folder=project, env=env)


def libraries(file):
    said = subprocess.check_output(["readelf", "-d", "-W", file], text=True)
    return set(re.findall(r"\(NEEDED\).*\[(\S+)\]", said))


def hello(project):
    """Runs it; the libraries of ours in its memory."""
    with Service(project / "built/hello", folder=project) as service:
        mapped = service.mapped()
        assert output(project / "built/call", folder=project) == "Hello Ada! <nil>\n"
    return [file for file in mapped if "nebula" in file.name]


def test_hello(project):
    build(project)
    assert libraries(project / "built/hello") <= GLIBC
    assert hello(project) == []


def test_it_may_be_vendored(project):
    output("go", "mod", "vendor", folder=project, env=environment(project.parent, GOFLAGS="-mod=mod"))
    build(project, GOFLAGS="-mod=vendor")
    assert hello(project) == []


def test_with_the_tag_dynamic_pkg_config_finds_the_engine(project, prefix):
    build(project, "-tags", "dynamic", PKG_CONFIG="pkg-config", PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig"),
          CGO_LDFLAGS=f"-Wl,-rpath,{prefix}/lib")
    assert [file.parent for file in hello(project)] == [prefix / "lib"]

"""The jar, beside the jars that its pom names."""

import shutil
import zipfile

import pytest
from kit import HELLO, PACKAGES, Service, assert_whole, output, package


@pytest.fixture(scope="module")
def project(place):
    for name in ("Hello.java", "Call.java"):
        shutil.copy(HELLO / "java" / name, place)
    shutil.copy(package("nebula-*.jar"), place / "nebula.jar")
    shutil.copytree(PACKAGES / "work/java/lib", place / "lib")
    return place


def java(project, *options):
    return ["java", "-Xshare:auto", "-cp", f"{project}/nebula.jar:{project}/lib/*", *options]


def test_its_library_is_whole(project):
    with zipfile.ZipFile(project / "nebula.jar") as jar:
        native = [name for name in jar.namelist() if name.endswith(".so")]
        assert len(native) == 1
        assert_whole(project / jar.extract(native[0], project / "jar"), r"Java_org_example_nebula_\w+", "JNI_OnLoad")


@pytest.mark.parametrize("chosen", [True, False])
def test_hello(project, chosen):
    """chosen: the library is unpacked where a property says, and the folder for temporary files does not matter."""
    folder = project / f"unpacked-{chosen}"
    folder.mkdir()
    options = [f"-Djava.io.tmpdir={folder}"]
    if chosen:
        options = ["-Djava.io.tmpdir=/nonexistent", f"-Dnebula.library.directory={folder}"]
    with Service(*java(project, *options, "Hello.java"), folder=project) as hello:
        native = [file for file in hello.mapped() if "nebula" in file.name and file.suffix == ".so"]
        assert [file.parent for file in native] == [folder]
        assert list(folder.glob("nebula*.so")) == []  # it goes when it is loaded
        said = output(*java(project, *options, "Call.java"), folder=project)
        assert said.splitlines()[0] == "Hello Ada!"

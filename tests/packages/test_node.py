"""The package for npm, in a project that has nothing else."""

import shutil

import pytest
from kit import HELLO, Service, assert_whole, environment, make_certificate, output, package

GREET = "require('nebula').service('hello').greet({ name: 'Ada' }, { timeout: 10000 }).then(console.log)"
INSTALL = ["npm", "install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", "--foreground-scripts"]


def project_in(folder, **env):
    """A project with the package, as npm installs it."""
    folder.mkdir()
    (folder / "package.json").write_text('{"private": true}')
    shutil.copy(HELLO / "node/hello.js", folder)
    output(*INSTALL, package("nebula-*.tgz"), folder=folder, env=environment(folder, **env))
    return folder


@pytest.fixture(scope="module")
def project(place):
    """Where nothing can be compiled."""
    return project_in(place / "project", CXX="false", PKG_CONFIG="false")


def native_of(service):
    return {file.name: file for file in service.mapped() if file.suffix == ".node" or file.name.startswith("libnebula")}


def test_hello(project):
    with Service("node", "hello.js", folder=project) as hello:
        native = native_of(hello)
        assert list(native) == ["addon.node"]
        assert native["addon.node"].is_relative_to(project / "node_modules/nebula/prebuilt")
        assert_whole(native["addon.node"], "napi_register_module_v1", "node_api_module_get_api_version_v1")
        assert output("node", "-e", GREET, folder=project) == "Hello Ada!\n"


def test_where_its_addon_does_not_fit_one_is_compiled(project, prefix, place):
    other = place / "other"
    shutil.copytree(project, other, symlinks=True)
    nebula = other / "node_modules/nebula"
    next((nebula / "prebuilt").glob("*/addon.node")).write_bytes(b"of another system")
    output("npm", "rebuild", folder=other, env=environment(other, PKG_CONFIG_PATH=str(prefix / "lib/pkgconfig")))
    with Service("node", "hello.js", folder=other) as hello:
        native = native_of(hello)
        assert native["addon.node"] == nebula / "build/addon.node"
        assert any(file.is_relative_to(prefix) for file in native.values())
        assert output("node", "-e", GREET, folder=other) == "Hello Ada!\n"


def test_tls_beside_nodes_own(project):
    make_certificate(project)
    said = output("node", "-e", """
const nebula = require("nebula");
require("node:tls").createSecureContext(); // Node's own is at work, too

async function main() {
  const greet = ({ name }) => `Hello ${name}!`;
  const tls = { certificate: "cert.pem", key: "key.pem" };
  const server = await nebula.serve(new nebula.Service("safe", { greet }), { address: "tls://127.0.0.1:0", tls });
  const channel = nebula.connect(server.urls[0], { tls: { authorities: "cert.pem" } });
  console.log(await channel.service("safe").greet({ name: "Ada" }, { timeout: 10000 }));
  await server.close();
}

main();
""", folder=project)
    assert said == "Hello Ada!\n"

// symbols.test.js - the engine and Node each have a libuv, an nghttp2 and an OpenSSL: whose are called?
"use strict";

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { assert, folder, it } = require("./kit");

const PACKAGE = path.dirname(__dirname);
const ADDON = path.join(PACKAGE, "build/addon.node");

it("the addon shows nothing but what Node looks for", () => {
  for (const file of [ADDON, path.join(PACKAGE, "build/loader.node")]) {
    const shown = execFileSync("nm", ["-D", "--defined-only", "--format=posix", file], { encoding: "utf8" });
    const names = shown.trim().split("\n").map((line) => line.split(" ")[0]);
    assert.deepEqual(names.sort(), ["napi_register_module_v1", "node_api_module_get_api_version_v1"]);
  }
});

it("the addon needs the engine, and no library that Node has inside", () => {
  const needed = execFileSync("readelf", ["-d", ADDON], { encoding: "utf8" }).match(/(?<=NEEDED.*\[)[^\]]+/g);
  const own = needed.filter((name) => !/^(libstdc\+\+|libgcc_s|libc|libm|ld-linux.*)\.so/.test(name));
  assert.deepEqual(own, ["libnebula.so.1"]);
});

it("the engine calls its own libraries, and the addon Node's libuv", (t) => {
  const here = folder(t);
  // A call over TLS makes use of all of them. Names are bound when they are first called.
  execFileSync(process.execPath, ["-e", `
    const nebula = require(${JSON.stringify(PACKAGE)});
    nebula.connect("tls://127.0.0.1:1").call("a.b").catch(() => {})`,
  ], { env: { ...process.env, LD_DEBUG: "bindings", LD_DEBUG_OUTPUT: path.join(here, "bindings") } });
  const bindings = fs.readdirSync(here).map((name) => fs.readFileSync(path.join(here, name), "utf8")).join("");
  const bound = (from, symbol) => {
    const line = new RegExp(`file \\S*/${from}\\S* \\[0\\] to (\\S+) \\[0\\]: normal symbol .(${symbol})'`, "g");
    return new Set([...bindings.matchAll(line)].map((match) => path.basename(match[1])));
  };
  // Debian's Node has no libuv inside: there the one of the system is Node's, and the engine's too.
  const shown = execFileSync("nm", ["-D", "--defined-only", process.execPath], { maxBuffer: 1 << 30 });
  const isInside = shown.includes(" uv_poll_start");
  const nodes = isInside ? path.basename(process.execPath) : "libuv.so.1";
  assert.deepEqual([...bound("addon.node", "uv_\\w+")], [nodes]);
  assert.deepEqual([...bound("addon.node", "nebula_\\w+")], ["libnebula.so.1"]);
  assert.deepEqual([...bound("libnebula.so", "uv_\\w+")], ["libuv.so.1"]);
  assert.deepEqual([...bound("libnebula.so", "nghttp2_\\w+")], ["libnghttp2.so.14"]);
  assert.deepEqual([...bound("libnebula.so", "(?:SSL|TLS)_\\w+")], ["libssl.so.3"]);
  assert.deepEqual([...bound("libssl.so", "(?:EVP|X509)_\\w+")], ["libcrypto.so.3"]);
});

// node/conformance.js - the conformance program of Node: tests/bindings/README.md says what it does.
//
// usage: scripts/node.sh tests/bindings/node/conformance.js serve <url>... | call <target>
//
// conformance_pb.js is what protoc-gen-es makes of conformance.proto, with
// --es_opt=target=js,js_import_style=legacy_commonjs
"use strict";

const readline = require("node:readline");

const nebula = require("nebula");

const { report } = require("./called");
const { serve } = require("./served");

async function call(target) {
  const channel = nebula.connect(target);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await report(channel, JSON.parse(line))));
  }
  channel.close();
}

const [verb, ...rest] = process.argv.slice(2);
const work = { serve, call }[verb];
if (!work || rest.length === 0) throw new Error("usage: conformance.js serve <url>... | call <target>");
work(...rest);

// abi.js - the C ABI as functions: the only file that knows of native code.
"use strict";

const { existsSync } = require("node:fs");
const path = require("node:path");

const build = path.join(__dirname, "../build");
const loader = path.join(build, "loader.node");
const addon = path.join(build, "addon.node");

// One that was built here goes first. An engine outside of it is loaded before it, so that it finds its own libraries.
if (existsSync(loader)) require(loader);
module.exports = require(existsSync(addon) ? addon : require("./prebuilt.js"));

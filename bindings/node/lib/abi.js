// abi.js - the C ABI as functions: the only file that knows of native code.
"use strict";

require("../build/loader.node"); // the engine first, so that it finds its own libraries
module.exports = require("../build/addon.node");

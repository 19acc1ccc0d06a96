// prebuilt.js - where the addon for this platform lies if it came with the package.
"use strict";

const path = require("node:path");

module.exports = path.join(__dirname, "../prebuilt", `${process.platform}-${process.arch}`, "addon.node");

// install.js - what npm runs at install: build.sh, but where an addon that came with the package can be loaded.
"use strict";

const { execFileSync } = require("node:child_process");

try {
  require(require("./lib/prebuilt.js"));
} catch (error) {
  console.error(`nebula: the package has no addon for here, so one is compiled (${error.message.split("\n")[0]})`);
  execFileSync("./build.sh", { cwd: __dirname, stdio: "inherit" });
}

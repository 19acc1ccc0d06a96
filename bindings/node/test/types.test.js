// types.test.js - the declarations, read by tsc together with types.ts; and that they name what the package has.
"use strict";

const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const { ROOT, assert, it, nebula } = require("./kit");

it("tsc takes what is right and refuses what is wrong", () => {
  // There the packages are found as they are where the package has been installed.
  const project = path.join(ROOT, "build/node/test/tsconfig.json");
  const tsc = require.resolve("typescript/bin/tsc");
  try {
    execFileSync(process.execPath, [tsc, "--project", project, "--pretty", "false"], { encoding: "utf8" });
  } catch (error) {
    assert.fail(error.stdout);
  }
}, 600_000); // it reads a hundred thousand lines

it("the declarations name all that the package has, and nothing else", () => {
  const text = fs.readFileSync(path.join(__dirname, "../lib/index.d.ts"), "utf8");
  const declared = [...text.matchAll(/^export (?:class|const|enum|function) (\w+)/gm)].map((match) => match[1]);
  assert.deepEqual([...new Set(declared)].sort(), Object.keys(nebula).sort());
});

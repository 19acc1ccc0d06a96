// metrics.js - what this process counts of its calls, and its channels and instances as they are.
"use strict";

const abi = require("./abi");
const engine = require("./engine");

/** A report of the whole process. docs/metrics.md has the names. */
function metrics() {
  engine.open();
  const tag = engine.newTag();
  abi.engineMetrics(tag);
  engine.hold();
  return new Promise((resolve) => {
    engine.know(tag, {
      receive({ data }) {
        engine.forget(tag);
        engine.release();
        const report = JSON.parse(data);
        resolve({ ...report.metrics, ...report.channels });
      },
    });
  });
}

module.exports = { metrics };

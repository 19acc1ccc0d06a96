// run.js - a program that is a service: banner, signals, and an orderly end.
"use strict";

const { serve } = require("./server");

const SIGNALS = ["SIGINT", "SIGTERM"];

/**
 * Serves until SIGINT or SIGTERM. Then it withdraws, lets running calls end, and returns; a second signal ends the
 * process at once. Prints one line per service when all can be called.
 */
async function run(services, options) {
  let stop;
  const stopped = new Promise((resolve) => (stop = resolve));
  for (const signal of SIGNALS) process.on(signal, stop);
  const restore = () => SIGNALS.forEach((signal) => process.removeListener(signal, stop));
  try {
    const server = await serve(services, options);
    const urls = server.urls.sort().join("   "); // "tcp:" before "unix:"
    for (const { name } of server.services) console.log(`${name}  (node)  ready   ${urls}`);
    await stopped;
    restore(); // the next one ends the process, as ever
    await server.drain();
    server.close();
  } finally {
    restore();
  }
}

module.exports = { run };

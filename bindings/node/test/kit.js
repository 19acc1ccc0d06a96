// kit.js - what the tests share: a registry of their own, servers to call, programs to start.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");
const test = require("node:test");
const v8 = require("node:v8");
const vm = require("node:vm");
const { isMainThread } = require("node:worker_threads");

// Before the engine is made. Short, since a Unix socket's path must fit into 107 bytes.
if (isMainThread) {
  const registry = fs.mkdtempSync("/tmp/neb-");
  process.env.NEBULA_REGISTRY = `host:?dir=${registry}`;
  process.on("exit", () => {
    // The engine lives as long as the process, and what is announced is placed again when somebody removes it.
    for (let tries = 0; tries < 10 && fs.existsSync(registry); tries++) {
      try {
        fs.rmSync(registry, { recursive: true });
      } catch {} // it came back meanwhile
    }
  });
}

const nebula = require("..");

// Nothing here takes that long; a test that waits for it has failed.
const PATIENCE = 120_000;

const ROOT = path.join(__dirname, "..", "..", "..");
const PYTHON_PEER = path.join(ROOT, "tests/bindings/python_peer.py");
// One that has the package, if not that of make python.
const PYTHON = process.env.NEBULA_PYTHON ?? path.join(ROOT, "build/venv/bin/python");

/** A test that cannot hang. */
const it = (name, body, timeout = PATIENCE) => test(name, { timeout }, body);

/** A server that ends with the test, and a channel to it over TCP. */
async function serve(t, services, options = {}) {
  const server = await nebula.serve(services, { address: "tcp://127.0.0.1:0", ...options });
  t.after(() => server.close());
  return { server, channel: connect(t, server.urls[0]) };
}

function connect(t, target, options) {
  const channel = nebula.connect(target, options);
  t.after(() => channel.close());
  return channel;
}

/** A promise with the functions that settle it. */
function deferred() {
  const result = {};
  result.promise = new Promise((resolve, reject) => Object.assign(result, { resolve, reject }));
  return result;
}

/** What one side puts, the other takes, in whatever order they come. */
class Mailbox {
  #values = [];
  #takers = [];

  put(value) {
    this.#takers.length ? this.#takers.shift()(value) : this.#values.push(value);
  }

  take() {
    return new Promise((resolve) => (this.#values.length ? resolve(this.#values.shift()) : this.#takers.push(resolve)));
  }
}

/** The RpcError that a promise rejects with, of that code. */
async function failure(promise, code) {
  try {
    await promise;
  } catch (error) {
    assert(error instanceof nebula.RpcError, error);
    assert.equal(nebula.Status[error.code], nebula.Status[code], error.message);
    return error;
  }
  return assert.fail("it did not fail");
}

/** Waits for what no event tells of. */
async function eventually(what, condition) {
  const end = Date.now() + PATIENCE;
  while (!(await condition())) {
    if (Date.now() > end) assert.fail(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

v8.setFlagsFromString("--expose-gc");
const collect = vm.runInNewContext("gc");

async function all(iterable) {
  const values = [];
  for await (const value of iterable) values.push(value);
  return values;
}

/** A process of its own, killed at the end of the test. */
class Program {
  #lines;
  #said = "";

  constructor(t, command, args) {
    // Not where the sources are.
    this.child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], cwd: "/tmp" });
    this.ended = new Promise((resolve) => {
      this.child.on("close", (code, signal) => resolve(signal ?? code)).on("error", resolve);
    });
    this.child.stderr.on("data", (data) => (this.#said += data));
    this.#lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
    t.after(() => {
      this.child.kill("SIGKILL");
      return this.ended; // it writes into the registry's folder no more
    });
  }

  /** The next line that it prints. */
  async line() {
    const { done, value } = await this.#lines.next();
    if (done) assert.fail(`it ended with ${await this.ended}: ${this.#said}`);
    return value;
  }

  /** Its exit code, or the signal that ended it, and what it said in complaint. */
  async end() {
    return [await this.ended, this.#said];
  }
}

/** A program in JavaScript; `nebula` is there. */
function program(t, source) {
  const nebula = JSON.stringify(path.dirname(__dirname));
  return new Program(t, process.execPath, ["-e", `const nebula = require(${nebula});${source}`]);
}

/** A folder of its own, removed at the end of the test. */
function folder(t) {
  const name = fs.mkdtempSync("/tmp/neb-");
  t.after(() => fs.rmSync(name, { recursive: true }));
  return name;
}

const python = (t, ...words) => new Program(t, PYTHON, ["-u", PYTHON_PEER, ...words]);

module.exports = {
  Mailbox, Program, ROOT, all, assert, collect, connect, deferred, eventually, failure, folder, it, nebula, program,
  python, serve,
};

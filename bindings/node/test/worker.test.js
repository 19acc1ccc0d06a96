// worker.test.js - worker threads: each has a queue of its own, and ends with it.
"use strict";

const path = require("node:path");
const { once } = require("node:events");
const { Worker } = require("node:worker_threads");

const { assert, connect, failure, it, nebula, serve } = require("./kit");

const { Service, Status } = nebula;

/** A worker; `nebula` and `port`, which speaks with us, are there. */
function start(t, source, data) {
  const worker = new Worker(`
    const { parentPort: port, workerData: data } = require("node:worker_threads");
    const nebula = require(${JSON.stringify(path.dirname(__dirname))});
    ${source}`, { eval: true, workerData: data });
  t.after(() => worker.terminate());
  return worker;
}

const SERVER = `
  const service = new nebula.Service(data, {
    greet: ({ name }) => "Hello " + name + "!",
    hold() { port.postMessage("held"); return new Promise(() => {}); },
  });
  nebula.serve(service, { address: ["tcp://127.0.0.1:0", "mem:" + data], announce: data })
    .then((server) => port.postMessage(server.urls));`;

it("a worker serves, and is found by its name", async (t) => {
  const [[urls]] = await Promise.all([once(start(t, SERVER, "in-worker"), "message")]);
  assert.equal(await nebula.service("in-worker").greet({ name: "Ada" }), "Hello Ada!");
  for (const url of urls) assert.equal(await connect(t, url).call("in-worker.greet", { name: "Bob" }), "Hello Bob!");
});

it("a worker that is terminated takes its calls and connections with it", async (t) => {
  const { channel } = await serve(t, new Service("main", { hold: () => new Promise(() => {}) }));
  for (let i = 0; i < 5; i++) {
    const worker = start(t, SERVER, "doomed");
    await once(worker, "message");
    const held = failure(nebula.service("doomed").hold(), Status.UNAVAILABLE);
    const answered = Promise.all(Array.from({ length: 50 }, () => nebula.service("doomed").greet({ name: "Ada" })));
    await Promise.all([once(worker, "message"), answered]);
    await worker.terminate();
    assert.equal((await held).fate, "unknown");
  }
  const caller = start(t, `
    nebula.connect(data).call("main.hold");
    nebula.connect(data).stream("main.hold").receive();
    nebula.connect("nebula:").call("main.hold", {}, { waitForReady: true });
    port.postMessage("called");`, channel.target);
  await once(caller, "message");
  await caller.terminate();
});

it("a worker ends by itself when nothing is open", async (t) => {
  const { channel } = await serve(t, new Service("main", { greet: ({ name }) => `Hello ${name}!` }));
  const worker = start(t, `
    (async () => {
      const brief = new nebula.Service("brief", { one: () => 1 });
      const server = await nebula.serve(brief, { address: "tcp://127.0.0.1:0" });
      await nebula.connect(server.urls[0]).call("brief.one");
      server.close();
      port.postMessage(await nebula.connect(data).call("main.greet", { name: "Ada" }));
    })()`, channel.target);
  // Its last message and its end may come in one go.
  assert.deepEqual(await Promise.all([once(worker, "message"), once(worker, "exit")]), [["Hello Ada!"], [0]]);
});

it("workers call each other all at once", async (t) => {
  const names = ["alpha", "beta", "gamma"];
  const workers = names.map((name) => start(t, `
    ${SERVER}
    port.on("message", async (names) => {
      const answers = await Promise.all(names.flatMap((name) =>
        Array.from({ length: 200 }, (_, i) => nebula.service(name).greet({ name: i }))));
      port.postMessage(answers.filter((answer, i) => answer === "Hello " + (i % 200) + "!").length);
      port.close();
    });`, name));
  await Promise.all(workers.map((worker) => once(worker, "message")));
  const counts = workers.map((worker) => once(worker, "message"));
  for (const worker of workers) worker.postMessage(names);
  assert.deepEqual(await Promise.all(counts), [[600], [600], [600]]);
});

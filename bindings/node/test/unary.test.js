// unary.test.js - one request, one answer: by name and by address, plain values, protobuf and bytes.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");
const { z } = require("zod");

const { Program, assert, connect, eventually, failure, folder, it, nebula, program, serve } = require("./kit");
const { Echo } = require("./echo_pb.js");

const { RpcError, Service, Status } = nebula;

const hello = new Service("hello", { greet: ({ name = "world" }) => `Hello ${name}!` });

/** A service by that name in a process of its own; `hold` says so and answers after so many milliseconds. */
const HELLO = (name) => `
  nebula.run(new nebula.Service("${name}", {
    greet: ({ name }) => "Hello " + name + "!",
    async hold(milliseconds) {
      console.log("held");
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      return "done";
    },
    async leave() {
      console.log("held");
      await new Promise((resolve) => process.once("SIGTERM", resolve));
      return "done";
    },
  }));`;

it("a service is called by its name", async (t) => {
  const child = program(t, HELLO("hello"));
  assert.match(await child.line(), /^hello  \(node\)  ready   tcp:\/\/127.0.0.1:2\d+   unix:.*$/);
  assert.equal(await nebula.service("hello").greet({ name: "Ada" }), "Hello Ada!");
  assert.equal(await connect(t, "nebula://hello").call("/hello/greet", { name: "Bob" }), "Hello Bob!");
  assert.equal(await connect(t, "nebula:").call("hello.greet", { name: "Eve" }), "Hello Eve!");
});

it("a channel has a policy, and a mistake in it says what there is", async (t) => {
  const { server } = await serve(t, new Service("slow", { hold: () => new Promise(() => {}) }));
  const channel = connect(t, server.urls[0], { policy: "deadline:?default=20ms" });
  await failure(channel.call("slow.hold"), Status.DEADLINE_EXCEEDED);
  assert.throws(() => nebula.connect("nebula:", { policy: "balancr=p2c:" }), /balancr.*balancer/s);
  assert.throws(() => nebula.connect("nebula:", { policy: 7 }), TypeError);
});

it("both sides of a call are counted", async (t) => {
  const { server, channel } = await serve(t, new Service("counted", { greet: () => "Hello!" }));
  for (let i = 0; i < 3; i++) await channel.call("counted.greet");
  const report = await nebula.metrics();
  const pointsOf = (name, of) =>
    report.metrics.find((metric) => metric.name === name).points.filter((point) => of(point));
  const [started] = pointsOf("nebula.client.call.started", ({ method, target }) =>
    method === "counted/greet" && target === channel.target);
  assert.equal(started.value, 3);
  const [served] = pointsOf("grpc.server.call.duration", ({ method }) => method === "counted/greet");
  assert.equal(served.histogram.count, 3);
  assert.equal(served.histogram.buckets.length, report.bounds.length + 1);
  const state = report.channels.find(({ target }) => target === server.urls[0]);
  assert.equal(state.nodes[0].state, "usable");
});

it("modules import the package by its name", async (t) => {
  const here = folder(t);
  fs.mkdirSync(path.join(here, "node_modules"));
  fs.symlinkSync(path.dirname(__dirname), path.join(here, "node_modules/nebula"));
  fs.writeFileSync(path.join(here, "main.mjs"), `
    import { Service, connect, serve } from "nebula";
    const hello = new Service("hello", { greet: ({ name }) => "Hello " + name + "!" });
    const server = await serve(hello, { address: "mem:m" });
    console.log(await connect("mem:m").call("hello.greet", { name: "Ada" }));
    server.close();`);
  const child = new Program(t, process.execPath, [path.join(here, "main.mjs")]);
  assert.equal(await child.line(), "Hello Ada!");
  assert.deepEqual(await child.end(), [0, ""]);
});

it("nobody there says so at once, and what is similar", async (t) => {
  await program(t, HELLO("hello-there")).line();
  const error = await failure(nebula.service("helo-there").greet(), Status.UNAVAILABLE);
  assert.match(error.message, /no instance of "helo-there".*hello-there/);
  assert.deepEqual([error.fate, error.fault], ["unsent", "network"]);
});

it("a killed service is unavailable and a new one is found", async (t) => {
  const phoenix = nebula.service("phoenix", { waitForReady: true });
  for (let i = 0; i < 3; i++) {
    const child = program(t, HELLO("phoenix"));
    await child.line();
    assert.equal(await phoenix.greet({ name: "Ada" }), "Hello Ada!");
    child.child.kill("SIGKILL");
    await child.ended;
    await eventually("it is missed", async () => {
      const code = await phoenix.greet({}, { waitForReady: false }).then(() => 0, (error) => error.code);
      return code === Status.UNAVAILABLE;
    });
  }
});

it("SIGTERM lets running calls end and the program returns 0", async (t) => {
  const child = program(t, HELLO("leaving"));
  await child.line();
  const answer = nebula.service("leaving").leave();
  assert.equal(await child.line(), "held");
  child.child.kill("SIGTERM");
  assert.equal(await answer, "done");
  assert.deepEqual(await child.end(), [0, ""]);
  await failure(nebula.service("leaving").greet(), Status.UNAVAILABLE);
});

it("a second signal ends the program at once", async (t) => {
  const child = program(t, HELLO("impatient"));
  await child.line();
  const answer = failure(nebula.service("impatient").hold(3_600_000), Status.UNAVAILABLE);
  assert.equal(await child.line(), "held");
  child.child.kill("SIGTERM");
  await eventually("it drains", async () => {
    const error = await nebula.service("impatient").greet().catch((error) => error);
    return error instanceof RpcError && /is draining/.test(error.message);
  });
  child.child.kill("SIGTERM");
  assert.equal(await child.ended, "SIGTERM");
  const error = await answer;
  assert.deepEqual([error.fate, error.fault], ["unknown", "network"]);
});

it("a process in which nothing is open ends by itself", async (t) => {
  const open = `
    const { Service, connect, serve, service } = nebula;
    (async () => {
      const server = await serve(new Service("own", { greet: () => "hi" }), { address: "tcp://127.0.0.1:0" });
      const channel = connect(server.urls[0]);
      console.log(await channel.call("own.greet"));`;
  assert.deepEqual(await program(t, `${open} server.close(); })()`).end(), [0, ""]);
  assert.deepEqual(await program(t, `${open} await server.drain(); server.close(); })()`).end(), [0, ""]);
  const busy = `${open} channel.call("own.greet"); process.exit(7); })()`;
  assert.deepEqual(await program(t, busy).end(), [7, ""], "process.exit() is not hindered");
  assert.deepEqual(await program(t, `nebula.connect("tcp://127.0.0.1:1")`).end(), [0, ""]);
});

it("a schema says what is taken, and the error names the field", async (t) => {
  const request = z.strictObject({ name: z.string(), age: z.number().optional() });
  const positive = { "~standard": { version: 1, vendor: "test", async validate(value) {
    return value > 0 ? { value: value * 2 } : { issues: [{ message: "must be positive" }] };
  } } };
  const { channel } = await serve(t, new Service("hello", {
    greet: nebula.unary({ request }, ({ name }) => `Hello ${name}!`),
    twice: nebula.unary({ request: positive }, (value) => value),
    sum: nebula.clientStream({ request: z.number() }, async (numbers) => {
      let sum = 0;
      for await (const number of numbers) sum += number;
      return sum;
    }),
  }));
  assert.equal(await channel.call("hello.greet", { name: "Ada" }), "Hello Ada!");
  for (const [value, message] of [
    [{ nme: "Ada" }, /^hello.greet: .*name/],
    [{ name: 7 }, /^hello.greet: field "name": .*string/],
    [{ name: "", age: "old" }, /^hello.greet: field "age": .*number/],
    [[1], /^hello.greet: .*object/],
    [Buffer.from(`{"name": `), /^hello.greet: malformed JSON: /],
    [Buffer.from("{} {}"), /^hello.greet: malformed JSON: /],
    [Buffer.from([0x22, 0xff, 0x22]), /^hello.greet: malformed JSON: it is not UTF-8/],
  ]) {
    const error = await failure(channel.call("hello.greet", value), Status.INVALID_ARGUMENT);
    assert.match(error.message, message);
    assert.deepEqual([error.fate, error.fault], ["processed", "caller"]);
  }
  assert.equal(await channel.call("hello.twice", 4), 8);
  const late = await failure(channel.call("hello.twice", 0), Status.INVALID_ARGUMENT);
  assert.equal(late.message, "hello.twice: must be positive");
  assert.equal(await channel.call("hello.sum", [1, 2, 3].values()), 6);
  await failure(channel.call("hello.sum", [1, "2"].values()), Status.INVALID_ARGUMENT);
});

it("every value that JSON has, and an error for others", async (t) => {
  const { channel } = await serve(t, new Service("echo", {
    any: (value) => value, none() {}, big: () => 1n, what: () => () => 0, later: async (value) => value,
  }), { onError() {} });
  for (const value of ["ÄÖ☃\0𝄞", "", 1.5, true, null, [1, "a"], { a: { b: [] } }, "x".repeat(1 << 20)]) {
    assert.deepEqual(await channel.call("echo.any", value), value);
    assert.deepEqual(await channel.call("echo.later", value), value);
  }
  assert.equal(await channel.call("echo.none"), null);
  const big = await failure(channel.call("echo.big"), Status.INTERNAL);
  assert.match(big.message, /^echo.big: the result cannot be encoded: .*BigInt/);
  assert.match((await failure(channel.call("echo.what"), Status.INTERNAL)).message, /a function has no form in JSON/);
  const error = await failure(channel.call("echo.any", { price: 1n }), Status.INVALID_ARGUMENT);
  assert.match(error.message, /^echo.any: .*BigInt/);
  assert.deepEqual([error.fate, error.fault], ["unsent", "caller"]);
});

it("bytes are taken and given as they are", async (t) => {
  const { channel } = await serve(t, new Service("echo", { bytes: nebula.unary({ bytes: true }, (data) => data) }));
  for (const size of [0, 1, 128, 70_000, 3 << 20]) {
    const sent = Buffer.alloc(size, 7);
    assert.deepEqual(await channel.call("echo.bytes", sent), sent);
  }
  const view = new Uint8Array([1, 2, 3, 4]).subarray(1, 3);
  const foreign = vm.runInNewContext("new Uint8Array([2, 3])"); // of a test runner's context, as it may be
  for (const sent of [view, foreign]) assert.deepEqual([...(await channel.call("echo.bytes", sent))], [2, 3]);
});

it("protobuf travels as such, as plain objects, and as JSON", async (t) => {
  const echo = new Service(Echo, {
    say: ({ text, raw, number }) => ({ text: text.toUpperCase(), raw, number: number + 1n }),
  });
  const { channel } = await serve(t, echo);
  const answer = await channel.service(Echo).say({ text: "ada", raw: new Uint8Array([0, 255]), number: 2n ** 62n });
  assert.equal(answer.$typeName, "nebula.test.v1.Message");
  assert.deepEqual([answer.text, [...answer.raw], answer.number], ["ADA", [0, 255], 2n ** 62n + 1n]);
  assert.equal((await channel.service(Echo).say()).text, "");
  const mapped = await channel.call("nebula.test.v1.Echo.Say", { text: "ada", number: "7" });
  assert.deepEqual(mapped, { text: "ADA", number: "8" });
  const bad = await failure(channel.call("nebula.test.v1.Echo.Say", { txt: "ada" }), Status.INVALID_ARGUMENT);
  assert.match(bad.message, /^nebula.test.v1.Echo.Say has no field "txt" \(fields: text, raw, number\)/);
  await failure(channel.call("nebula.test.v1.Echo.Say", Buffer.from([0xff])), Status.INVALID_ARGUMENT);
  const slip = await failure(channel.service(Echo).say({ txt: "ada" }), Status.INVALID_ARGUMENT);
  assert.equal(slip.message, 'nebula.test.v1.Echo.Say has no field "txt" (fields: text, raw, number)');
  assert.equal(slip.fate, "unsent");
  assert.match((await failure(channel.service(Echo).say({ number: "x" }), Status.INVALID_ARGUMENT)).message, /number/);
  await failure(channel.service(Echo).missing(), Status.UNIMPLEMENTED);
  const error = await failure(channel.call("nebula.test.v1.Echo.Say", answer), Status.INVALID_ARGUMENT);
  assert.match(error.message, /service's description/);
});

it("no file is looked for while calls are made, also where the program has loaded protobuf before", async (t) => {
  const child = program(t, `
    require("@bufbuild/protobuf");
    const { Echo } = require(${JSON.stringify(path.join(__dirname, "echo_pb.js"))});
    const Module = require("node:module");
    (async () => {
      const service = new nebula.Service(Echo, { say: (message) => message });
      const server = await nebula.serve(service, { address: "mem:looked" });
      const echo = nebula.connect(server.urls[0]).service(Echo);
      await echo.say({ text: "first" });
      const resolve = Module._resolveFilename;
      let count = 0;
      Module._resolveFilename = (...request) => (count++, resolve(...request));
      const { text } = await echo.say({ text: "second" });
      console.log(text, count);
      server.close();
    })()`);
  assert.equal(await child.line(), "second 0");
});

it("an answer that cannot be read is told", async (t) => {
  const broken = { request: undefined, bytes: true };
  const { channel } = await serve(t, new Service("broken", {
    one: nebula.unary(broken, () => Buffer.from("{")),
    many: nebula.serverStream(broken, () => [Buffer.from("1"), Buffer.from("{")]),
  }));
  const error = await failure(channel.call("broken.one"), Status.INTERNAL);
  assert.match(error.message, /^broken.one: malformed answer: malformed JSON: /);
  assert.deepEqual([error.fate, error.fault], ["processed", "callee"]);
  const stream = channel.stream("broken.many");
  assert.equal(await stream.receive(), 1);
  await failure(stream.receive(), Status.INTERNAL);
});

it("handlers may be methods of a class", async (t) => {
  class Counter {
    #count = 0n;

    say({ number }) {
      return { number: (this.#count += number) };
    }
  }
  const { channel } = await serve(t, new Service(Echo, new Counter()));
  for (const sum of [5n, 10n]) assert.equal((await channel.service(Echo).say({ number: 5n })).number, sum);
});

it("a method refuses a codec that is not its own", async (t) => {
  const { channel } = await serve(t, new Service(Echo.typeName, { Say: (value) => value }));
  const error = await failure(channel.service(Echo).say(), Status.UNIMPLEMENTED);
  assert.equal(error.message, "nebula.test.v1.Echo.Say accepts application/grpc+json, not application/grpc+proto");
});

it("what cannot be served is refused, and says why", async (t) => {
  const refuses = (services, options, message) => assert.rejects(nebula.serve(services, options), message);
  assert.throws(() => new Service("a b", { greet() {} }), /"a b" is not a service's name/);
  assert.throws(() => new Service("empty", {}), /no method to serve/);
  assert.throws(() => new Service("bad", { greet: 7 }), /a handler is a function/);
  assert.throws(() => new Service(Echo, { sya() {} }), /no method sya \(methods: say, repeat, join, chat, missing\)/);
  assert.throws(() => nebula.unary({ requst: 1 }, () => 0), /no option requst/);
  await refuses([hello, hello], {}, /hello.greet: taken/);
  await refuses(hello, { address: "ftp://x" }, { code: "NEBULA_E_ADDRESS" });
  await refuses(hello, { address: "tls://127.0.0.1:0" }, { code: "NEBULA_E_TLS" });
  await refuses(hello, { adress: "tcp://127.0.0.1:0" }, /no option adress/);
  await refuses(hello, { maxMessage: -1 }, /maxMessage/);
  await refuses({ hello }, {}, /new Service/);
  await refuses(hello, { address: "tls://127.0.0.1:0", tls: { cert: "x" } }, /no option cert/);
  await refuses(hello, { address: "tls://127.0.0.1:0", tls: "cert.pem" }, /tls is an object/);
  await refuses(hello, { address: "tls://127.0.0.1:0", tls: { certificate: 7 } }, /certificate of tls is a string/);
  const { server } = await serve(t, hello);
  assert.throws(() => server.start(), /started once/);
  const taken = await nebula.serve(hello, { address: server.urls[0] }).catch((error) => error);
  assert.equal(taken.code, "NEBULA_E_ADDRESS");
  assert(taken.message.includes(server.urls[0].slice("tcp://".length)), taken.message);
});

it("each kind of address", async (t) => {
  for (const address of ["tcp://127.0.0.1:0", `unix:${folder(t)}/s`, "mem:node-test"]) {
    const { channel } = await serve(t, hello, { address });
    assert.equal(await channel.call("hello.greet"), "Hello world!");
  }
  assert.throws(() => nebula.connect("gopher://x"), { code: "NEBULA_E_ADDRESS", message: /gopher/ });
  assert.throws(() => nebula.connect("tcp://127.0.0.1:1", { keepAlive: 1 }), /no option keepAlive/);
});

it("a method's name is checked", async (t) => {
  const { channel } = await serve(t, hello);
  for (const name of ["nodot", ".x", "x.", "", 7]) await assert.rejects(channel.call(name), /is no method/);
  await failure(channel.call("/nomethod"), Status.INVALID_ARGUMENT);
  assert.throws(() => channel.service("no slash/"), /is not a service's name/);
  await assert.rejects(channel.call("hello.greet", {}, { timout: 1 }), /no option timout/);
});

it("a service can be awaited, printed and listed without being called", async () => {
  const client = await nebula.service("nobody");
  assert.equal(typeof client.greet, "function");
  assert.equal(client.greet, client.greet);
  assert.equal(JSON.stringify(client), "{}");
  assert(require("node:util").inspect(client));
});

it("a wrong request is not sent", async (t) => {
  let served = 0;
  const greet = nebula.unary({
    schema: {
      request: {
        type: "object", additionalProperties: false, required: ["name"],
        properties: { name: { type: "string" }, home: { type: "object", properties: { zip: { type: "string" } } } },
      },
    },
  }, ({ name }) => (served++, name));
  const { channel } = await serve(t, [new Service("strict", { greet, loose: () => served++ })]);
  const strict = channel.service("strict");
  for (const [call, code, message] of [
    [strict.greet({ nmae: "Ada" }), Status.INVALID_ARGUMENT,
      'strict.greet has no field "nmae" (fields: name, home); did you mean "name"?'],
    [strict.greet({ name: 7 }), Status.INVALID_ARGUMENT, 'strict.greet: field "name" must be a string, not a number'],
    [strict.greet({ name: "Ada", home: { zip: [] } }), Status.INVALID_ARGUMENT,
      'strict.greet: field "home.zip" must be a string, not a list'],
    [strict.gret({}), Status.UNIMPLEMENTED,
      'strict has no method "gret" (methods: greet, loose); did you mean "greet"?'],
  ]) {
    const error = await failure(call, code);
    assert.deepEqual([error.message, error.fate, error.fault], [message, "unsent", "caller"]);
  }
  assert.equal(served, 0);
  assert.equal(await strict.greet({ name: "Ada" }), "Ada");
  assert.equal(await strict.loose({ any: "thing" }), 1);
});

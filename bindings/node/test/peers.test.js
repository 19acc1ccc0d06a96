// peers.test.js - stock gRPC (@grpc/grpc-js) as caller and as callee, and Python by name.
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const { Program, ROOT, all, assert, connect, deferred, failure, it, nebula, python, serve } = require("./kit");
const { Echo } = require("./echo_pb.js");

const { RpcError, Service, Status } = nebula;

/** The package that a .proto file describes, as grpc-js has it. */
const stockOf = (...file) =>
  grpc.loadPackageDefinition(loader.loadSync(path.join(...file), { longs: Number, defaults: true }));
const StockEcho = stockOf(__dirname, "echo.proto").nebula.test.v1.Echo;

// ---- Nebula's client, gRPC's server ---------------------------------------------------------------------------------

async function stockServer(t) {
  const cancelled = deferred();
  const server = new grpc.Server();
  server.addService(StockEcho.service, {
    Say(call, answer) {
      const headers = new grpc.Metadata();
      for (const name of ["first", "raw-bin"]) for (const value of call.metadata.get(name)) headers.add(name, value);
      call.sendMetadata(headers);
      const trailers = new grpc.Metadata();
      trailers.set("last", "1");
      const { text, number } = call.request;
      if (number > 0) answer({ code: number, details: text, metadata: trailers });
      else answer(null, { text: text.toUpperCase() }, trailers);
    },
    Repeat(call) {
      for (let i = 0; i < call.request.number; i++) call.write({ text: call.request.text, number: i });
      call.end();
    },
    Join(call, answer) {
      const texts = [];
      call.on("data", ({ text }) => texts.push(text)).on("end", () => answer(null, { text: texts.join("+") }));
    },
    Chat(call) {
      call.on("data", ({ text }) => call.write({ text: `${text}?` })).on("end", () => call.end());
      call.on("cancelled", cancelled.resolve);
    },
  });
  const port = await new Promise((resolve, reject) => {
    const bound = (error, port) => (error ? reject(error) : resolve(port));
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), bound);
  });
  t.after(() => server.forceShutdown());
  return { echo: connect(t, `tcp://127.0.0.1:${port}`).service(Echo), cancelled: cancelled.promise };
}

it("unary calls of a stock server", async (t) => {
  const { echo } = await stockServer(t);
  let headers, trailers;
  const options = {
    metadata: { first: "1", "raw-bin": Buffer.from([0, 255]) }, compression: "gzip",
    onHeaders: (metadata) => (headers = metadata), onTrailers: (metadata) => (trailers = metadata),
  };
  for (const text of ["", "ada", "x".repeat(100_000)]) {
    assert.equal((await echo.say({ text }, options)).text, text.toUpperCase());
    assert.deepEqual([headers.get("first"), headers.get("raw-bin")], ["1", Buffer.from([0, 255])]);
    assert.equal(trailers.get("last"), "1");
  }
  const error = await failure(echo.say({ text: "not now: ☃", number: 9n }), Status.FAILED_PRECONDITION);
  assert.deepEqual([error.message, error.fate, error.trailers.get("last")], ["not now: ☃", "processed", "1"]);
  await failure(echo.missing(), Status.UNIMPLEMENTED);
});

it("streams of a stock server", async (t) => {
  const { echo, cancelled } = await stockServer(t);
  const numbers = (await all(echo.repeat({ text: "a", number: 1000n }))).map(({ number }) => Number(number));
  assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, i) => i));
  const messages = Array.from({ length: 1000 }, (_, i) => ({ text: String(i % 10) }));
  assert.equal((await echo.join(messages)).text.length, 1999);
  const chat = echo.chat();
  for (const text of ["a", "", "c"]) {
    await chat.send({ text });
    assert.equal((await chat.receive()).text, `${text}?`);
  }
  chat.cancel();
  await failure(chat.receive(), Status.CANCELLED);
  await cancelled;
  const other = echo.chat();
  other.end();
  assert.equal(await other.receive(), undefined);
});

// ---- gRPC's client, Nebula's server ---------------------------------------------------------------------------------

async function stockClient(t, Client = StockEcho) {
  const ended = deferred();
  const { server } = await serve(t, new Service(Echo, {
    async say({ text, number }, context) {
      const { metadata } = context;
      context.sendHeaders([...metadata].filter(([name]) => ["first", "raw-bin"].includes(name)));
      context.setTrailers({ last: "1" });
      if (number) throw new RpcError(Number(number), text);
      return { text: text.toUpperCase() };
    },
    async *repeat({ text, number }) {
      for (let i = 0n; i < number; i++) yield { text, number: i };
    },
    async join(messages) {
      return { text: (await all(messages)).map(({ text }) => text).join("+") };
    },
    async *chat(messages, context) {
      context.signal.addEventListener("abort", () => ended.resolve(context.signal.reason));
      for await (const { text } of messages) yield { text: `${text}?` };
    },
  }), { compression: "gzip" });
  const client = new Client(server.urls[0].slice("tcp://".length), grpc.credentials.createInsecure());
  t.after(() => client.close());
  return { client, ended: ended.promise };
}

it("a stock client's unary calls", async (t) => {
  const { client } = await stockClient(t);
  const metadata = new grpc.Metadata();
  metadata.set("first", "1");
  metadata.set("raw-bin", Buffer.from([0, 255]));
  const say = (request) => new Promise((resolve) => {
    const result = {};
    const call = client.Say(request, metadata, (error, answer) => Object.assign(result, { error, answer }));
    call.on("metadata", (headers) => (result.headers = headers));
    call.on("status", (status) => resolve({ ...result, trailers: status.metadata }));
  });
  for (const text of ["", "ada", "x".repeat(100_000)]) {
    const { answer, headers, trailers } = await say({ text });
    assert.equal(answer.text, text.toUpperCase());
    assert.deepEqual([headers.get("first"), headers.get("raw-bin")], [["1"], [Buffer.from([0, 255])]]);
    assert.deepEqual(trailers.get("last"), ["1"]);
  }
  const { error } = await say({ text: "not now: ☃", number: 9 });
  assert.deepEqual([error.code, error.details, error.metadata.get("last")], [9, "not now: ☃", ["1"]]);
  const missing = await new Promise((resolve) => client.Missing({}, resolve));
  assert.equal(missing.code, Status.UNIMPLEMENTED);
});

it("a stock client's streams", async (t) => {
  const { client, ended } = await stockClient(t);
  const numbers = (await all(client.Repeat({ text: "a", number: 1000 }))).map(({ number }) => number);
  assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, i) => i));
  const joined = await new Promise((resolve, reject) => {
    const call = client.Join((error, answer) => (error ? reject(error) : resolve(answer)));
    for (let i = 0; i < 1000; i++) call.write({ text: String(i % 10) });
    call.end();
  });
  assert.equal(joined.text.length, 1999);
  const chat = client.Chat();
  const answers = chat[Symbol.asyncIterator]();
  for (const text of ["a", "", "c"]) {
    chat.write({ text });
    assert.equal((await answers.next()).value.text, `${text}?`);
  }
  chat.cancel();
  await assert.rejects(answers.next(), { code: Status.CANCELLED });
  assert.equal((await ended).code, Status.CANCELLED);
});

it("a stock client with a JSON serializer calls a code-first service", async (t) => {
  const { server } = await serve(t, new Service("hello", { greet: ({ name }) => `Hello ${name}!` }));
  const client = new grpc.Client(server.urls[0].slice("tcp://".length), grpc.credentials.createInsecure());
  t.after(() => client.close());
  const greeting = await new Promise((resolve, reject) => client.makeUnaryRequest(
    "/hello/greet", (value) => Buffer.from(JSON.stringify(value)), (data) => JSON.parse(data), { name: "Ada" },
    (error, answer) => (error ? reject(error) : resolve(answer))));
  assert.equal(greeting, "Hello Ada!");
});

it("health and reflection are served", async (t) => {
  const { server } = await serve(t, [
    new Service(Echo, { say: (message) => message }), new Service("plain", { one: () => 1 }),
  ]);
  const address = server.urls[0].slice("tcp://".length);
  const clientOf = (Client) => {
    const client = new Client(address, grpc.credentials.createInsecure());
    t.after(() => client.close());
    return client;
  };
  const health = clientOf(stockOf(ROOT, "proto/grpc/health/v1/health.proto").grpc.health.v1.Health);
  const check = (service) => new Promise((resolve, reject) =>
    health.Check({ service }, (error, answer) => (error ? reject(error) : resolve(answer.status))));
  for (const name of ["", "plain", Echo.typeName]) assert.equal(await check(name), 1);
  server.setHealth(false, "plain");
  assert.deepEqual([await check(""), await check("plain")], [1, 2]);
  await assert.rejects(check("none"), { code: Status.NOT_FOUND });

  const { ServerReflection } = stockOf(ROOT, "proto/grpc/reflection/v1/reflection.proto").grpc.reflection.v1;
  const asked = clientOf(ServerReflection).ServerReflectionInfo();
  const answers = asked[Symbol.asyncIterator]();
  const ask = async (question) => {
    asked.write(question);
    return (await answers.next()).value;
  };
  const listed = (await ask({ listServices: "" })).listServicesResponse.service.map(({ name }) => name);
  assert(listed.includes(Echo.typeName), listed.join(" "));
  const { fileDescriptorResponse } = await ask({ fileContainingSymbol: Echo.typeName });
  assert(fileDescriptorResponse.fileDescriptorProto.some((file) => file.includes("echo.proto")));
  asked.end();
});

// ---- Python by name -------------------------------------------------------------------------------------------------

it("Python is called by name", async (t) => {
  const child = python(t, "serve");
  assert.match(await child.line(), /^py-hello {2}\(python\) {2}ready/);
  const hello = nebula.service("py-hello");
  assert.equal(await hello.greet({ name: "Ada" }), "Hello Ada!");
  const error = await failure(hello.greet({ name: "nobody" }), Status.NOT_FOUND);
  assert.deepEqual([error.message, error.trailers.get("who")], ["nobody is not here", "nobody"]);
  assert.equal(
    (await failure(hello.greet({ nme: "Ada" }), Status.INVALID_ARGUMENT)).message,
    'py-hello.greet has no field "nme" (fields: name); did you mean "name"?');
  assert.deepEqual(await all(hello.countdown.stream({ start: 3 })), [3, 2, 1]);
  assert.equal(await hello.total([1, 2, 3].values()), 6);
  const chat = hello.chat.open();
  await chat.send("Hello");
  assert.equal(await chat.receive(), "Hello?");
  chat.end();
  assert.equal(await chat.receive(), undefined);
});

it("Python calls by name", async (t) => {
  const server = await nebula.serve(new Service("node-hello", {
    greet: ({ name }) => `Hello ${name}!`,
    async *countdown({ start }) {
      for (; start > 0; start--) yield start;
    },
    total: nebula.clientStream(async (numbers) => (await all(numbers)).reduce((sum, number) => sum + number, 0)),
    chat: nebula.bidi(async function* (lines) {
      for await (const line of lines) yield `${line}?`;
    }),
  }));
  t.after(() => server.close());
  const child = python(t, "call", "node-hello");
  assert.equal(await child.line(), "all is well");
  assert.deepEqual(await child.end(), [0, ""]);
});

// ---- the examples, as a reader runs them ----------------------------------------------------------------------------

function example(t, name) {
  const file = path.join(ROOT, "examples", name);
  assert(fs.readFileSync(file, "utf8").split("\n").length <= 26, `${name} has more than 25 lines`);
  return new Program(t, process.execPath, [file]);
}

it("the examples", async (t) => {
  const services = [
    ["1_hello/node/hello.js", "hello"], ["1_hello/node/clock.js", "demo.v1.Clock"], ["2_stream/node/room.js", "room"],
  ].map(([file, name]) => [example(t, file), name]);
  for (const [service, name] of services) assert((await service.line()).startsWith(`${name}  (node)  ready   tcp:`));
  const call = example(t, "1_hello/node/call.js");
  assert.equal(await call.line(), "Hello Ada!");
  assert.match(await call.line(), /^20\d\d-\d\d-\d\dT[\d:.]+Z$/);
  assert.deepEqual(await call.end(), [0, ""]);
  const guest = example(t, "2_stream/node/guest.js");
  const said = ["3", "2", "1", "Hello? Tell me more.", "I am Ada? Tell me more."];
  for (const line of said) assert.equal(await guest.line(), line);
  assert.deepEqual(await guest.end(), [0, ""]);
  for (const [service] of services) {
    service.child.kill("SIGTERM");
    assert.deepEqual(await service.end(), [0, ""]);
  }
});

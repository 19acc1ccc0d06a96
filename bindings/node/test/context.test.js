// context.test.js - deadlines, cancellation at every stage, metadata, errors and their outcomes.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const { Mailbox, ROOT, all, assert, connect, deferred, failure, folder, it, nebula, program, serve } = require("./kit");

const { Metadata, RpcError, Service, Status, connect: dial } = nebula;

/** A service whose methods wait until nobody waits for them, and tell when they begin and end. */
function waiting() {
  const entered = new Mailbox();
  const ended = new Mailbox();
  const result = { entered, ended, entries: 0 };
  const wait = async (context) => {
    result.entries++;
    entered.put(context);
    if (!context.cancelled) await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
    ended.put(context);
    throw context.signal.reason;
  };
  result.service = new Service("wait", {
    forever: (_, context) => wait(context),
    stream: nebula.serverStream(async function* (_, context) {
      yield 1;
      await wait(context);
    }),
    deaf: nebula.clientStream({ bytes: true }, (_, context) => wait(context)),
  });
  return result;
}

/** Calls with deadlines that become longer, until one is in its handler when it passes. The last error. */
async function expire(waits, call) {
  for (let timeout = 100; ; timeout *= 4) {
    const error = await failure(call({ timeout }), Status.DEADLINE_EXCEEDED);
    if (waits.entries > 0) return error;
  }
}

const time = new Service("time", { left: (_, context) => context.timeRemaining ?? null });

it("a deadline is the handler's too", async (t) => {
  const { channel } = await serve(t, time);
  const left = await channel.call("time.left", {}, { timeout: 3_600_000 });
  assert(left > 3_000_000 && left <= 3_600_000, String(left));
  for (const timeout of [undefined, Infinity]) assert.equal(await channel.call("time.left", {}, { timeout }), null);
  for (const timeout of [NaN, -1, "soon"]) {
    await failure(channel.call("time.left", {}, { timeout }), Status.INVALID_ARGUMENT);
  }
});

it("a deadline ends both sides", async (t) => {
  const waits = waiting();
  const { channel } = await serve(t, waits.service);
  const error = await expire(waits, (options) => channel.call("wait.forever", {}, options));
  assert(["unknown", "processed"].includes(error.fate), error.fate);
  const context = await waits.ended.take();
  assert(context.cancelled);
  assert.equal(context.peer, "");
  const early = await failure(channel.call("wait.forever", {}, { timeout: 0 }), Status.DEADLINE_EXCEEDED);
  assert(["unsent", "unknown"].includes(early.fate), early.fate);
});

it("a deadline ends a stream", async (t) => {
  const waits = waiting();
  const { channel } = await serve(t, waits.service);
  await expire(waits, (options) => all(channel.stream("wait.stream", {}, options)));
  assert((await waits.ended.take()).cancelled);
});

it("nested calls inherit the deadline and the cancellation", async (t) => {
  const waits = waiting();
  const { channel: inner } = await serve(t, [waits.service, time]);
  const { channel } = await serve(t, new Service("outer", {
    async left() {
      await new Promise(setImmediate); // a context that outlives what JavaScript does in between
      assert.equal(nebula.currentCall().method, "/outer/left");
      return [
        await inner.call("time.left"),
        await inner.call("time.left", {}, { timeout: 1000 }),
        await nebula.detached(() => inner.call("time.left")),
      ];
    },
    call: () => inner.call("wait.forever"),
    stream: nebula.serverStream(() => inner.stream("wait.stream")),
  }));
  const [inherited, own, none] = await channel.call("outer.left", {}, { timeout: 3_600_000 });
  assert(inherited > 3_000_000 && inherited <= 3_600_000, String(inherited));
  assert(own > 0 && own <= 1000, String(own));
  assert.equal(none, null);
  assert.equal(nebula.currentCall(), undefined);

  const abort = new AbortController();
  const answer = failure(channel.call("outer.call", {}, { signal: abort.signal }), Status.CANCELLED);
  const first = await waits.entered.take();
  abort.abort();
  await answer;
  assert.equal(await waits.ended.take(), first);
  const stream = channel.stream("outer.stream");
  assert.equal(await stream.receive(), 1);
  const second = await waits.entered.take();
  stream.cancel();
  assert.equal(await waits.ended.take(), second);
  waits.entries = 0;
  await expire(waits, (options) => channel.call("outer.call", {}, options));
  assert((await waits.ended.take()).cancelled);
});

it("retries do not multiply", async (t) => {
  const counts = { last: 0, above: 0 };
  const { channel: below } = await serve(t, new Service("below", {
    last() {
      counts.last++;
      throw new RpcError(Status.UNAVAILABLE, "not now");
    },
  }));
  const last = () => below.call("below.last", {}, { idempotent: true });
  const { channel } = await serve(t, new Service("tree", {
    async above(how) {
      counts.above++;
      await new Promise(setImmediate);
      return how === "detached" ? nebula.detached(last) : last();
    },
  }));
  for (const [how, ...expected] of [["here", { last: 3, above: 1 }, "-1"], ["detached", { last: 9, above: 3 }, undefined]]) {
    Object.assign(counts, { last: 0, above: 0 });
    const error = await failure(channel.call("tree.above", how, { idempotent: true }), Status.UNAVAILABLE);
    assert.deepEqual([{ ...counts }, error.trailers.get("grpc-retry-pushback-ms")], expected);
  }
});

it("a call made after its handler's caller has left fails at once", async (t) => {
  const { channel: inner } = await serve(t, waiting().service);
  const late = deferred();
  const entered = deferred();
  const { channel } = await serve(t, new Service("outer", {
    async call(_, { signal }) {
      entered.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      inner.call("wait.forever").catch(late.resolve);
    },
  }));
  const abort = new AbortController();
  const answer = failure(channel.call("outer.call", {}, { signal: abort.signal }), Status.CANCELLED);
  await entered.promise;
  abort.abort();
  await answer;
  assert.equal((await late.promise).code, Status.CANCELLED);
});

it("a call is cancelled at every stage", async (t) => {
  const { service, ended, entered } = waiting();
  const { server, channel } = await serve(t, service);
  const cancelled = async (during) => {
    const abort = new AbortController();
    const error = await failure(during(abort.signal, () => abort.abort("enough")), Status.CANCELLED);
    assert.equal(error.fault, "caller");
    return error;
  };
  const before = await cancelled((signal, abort) => { // before it begins
    abort();
    return channel.call("wait.forever", {}, { signal });
  });
  assert.deepEqual([before.fate, before.cause], ["unsent", "enough"]);
  await cancelled((signal, abort) => { // before it leaves
    const answer = channel.call("wait.forever", {}, { signal });
    abort();
    return answer;
  });
  const none = await cancelled((signal, abort) => { // while no instance is there
    setTimeout(abort, 20);
    return nebula.service("nobody").there({}, { signal, waitForReady: true });
  });
  assert.equal(none.fate, "unsent");
  await cancelled((signal, abort) => { // while the handler runs
    entered.take().then(abort);
    return channel.call("wait.forever", {}, { signal });
  });
  await ended.take();
  await cancelled(async (signal, abort) => { // while an answer is awaited
    const stream = channel.stream("wait.stream", {}, { signal });
    assert.equal(await stream.receive(), 1);
    abort();
    await stream.receive();
  });
  await ended.take();
  await cancelled(async (signal, abort) => { // while a send waits for room
    const stream = channel.open("wait.deaf", { bytes: true, signal });
    for (;;) {
      setTimeout(abort, 20);
      await stream.send(Buffer.alloc(100_000));
    }
  });
  const short = connect(t, server.urls[0]);
  const answer = short.call("wait.forever");
  short.close(); // while its channel is closed
  await failure(answer, Status.CANCELLED);
  assert.equal((await failure(short.call("wait.forever"), Status.CANCELLED)).fate, "unsent");
});

it("a signal that times out is a deadline, and a signal is left alone afterwards", async (t) => {
  const { service } = waiting();
  const { channel } = await serve(t, [service, new Service("quick", { one: () => 1 })]);
  await failure(channel.call("wait.forever", {}, { signal: AbortSignal.timeout(50) }), Status.DEADLINE_EXCEEDED);
  const { signal } = new AbortController();
  let listeners = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = function (...given) { listeners++; addEventListener.apply(this, given); };
  signal.removeEventListener = function (...given) { listeners--; removeEventListener.apply(this, given); };
  assert.equal(await channel.call("quick.one", {}, { signal }), 1);
  assert.equal(listeners, 0);
});

it("metadata goes both ways", async (t) => {
  const { channel } = await serve(t, new Service("meta", {
    echo(code, context) {
      const { metadata, method, peer } = context;
      context.sendHeaders([["first", metadata.get("first")], ["raw-bin", metadata.get("raw-bin")]]);
      assert.throws(() => context.sendHeaders({ again: "1" }), /sent already/);
      context.setTrailers({ lost: "1" });
      context.setTrailers({ twice: metadata.getAll("twice").join("+") });
      assert.throws(() => context.setTrailers({ No: "such" }), TypeError);
      if (code) throw new RpcError(code, "as asked");
      return `${method} ${peer}`;
    },
  }));
  let headers, trailers;
  const options = {
    metadata: { first: "1", "raw-bin": new Uint8Array([0, 254, 255]), twice: ["a", "b"] },
    onHeaders: (metadata) => (headers = metadata), onTrailers: (metadata) => (trailers = metadata),
  };
  assert.match(await channel.call("meta.echo", 0, options), /^\/meta\/echo tcp:\/\/127.0.0.1:\d+$/);
  assert.deepEqual([headers.get("first"), headers.get("raw-bin")], ["1", Buffer.from([0, 254, 255])]);
  assert.deepEqual([...trailers], [["twice", "a+b"]]);
  assert.deepEqual([trailers.get("none"), trailers.getAll("none"), trailers.size], [undefined, [], 1]);
  const error = await failure(channel.call("meta.echo", Status.ABORTED, options), Status.ABORTED);
  assert.equal(error.trailers.get("twice"), "a+b");
  assert.equal(trailers.get("twice"), "a+b");

  // A service's own metadata, and then a call's.
  await channel.service("meta", { metadata: { twice: "s", first: "1", "raw-bin": Buffer.alloc(0) } }).echo(0, {
    metadata: new Map([["twice", "c"]]), onTrailers: (metadata) => (trailers = metadata),
  });
  assert.equal(trailers.get("twice"), "s+c");
  for (const bad of [
    { Upper: "x" }, { "": "x" }, { "grpc-x": "x" }, { "nebula-retries-left": "1" }, { "a b": "x" },
    { text: "\x01" }, { text: "ä" }, { n: 7 },
    { "x-bin": "text" },
  ]) {
    const error = await failure(channel.call("meta.echo", 0, { metadata: bad }), Status.INVALID_ARGUMENT);
    assert.match(error.message, /^meta.echo: metadata /);
    assert.equal(error.fate, "unsent");
  }
  assert.equal(Metadata.of(trailers), trailers);
});

it("what a handler throws", async (t) => {
  const logged = [];
  const coded = new RpcError(Status.NOT_FOUND, "no order 7: ☃", { trailers: { order: "7" } });
  const throwing = (error) => () => {
    throw error;
  };
  const { channel } = await serve(t, new Service("fail", {
    coded: throwing(coded),
    late: async () => throwing(coded)(),
    plain: throwing(new RangeError("oh no")),
    text: throwing("a word"),
    nothing: throwing(undefined),
    mute: throwing(Object.create(null)),
    long: throwing(new RpcError(Status.INTERNAL, "é".repeat(5000))),
    nul: throwing(new RpcError(Status.INTERNAL, "a\0b\ud800")),
    unsendable: throwing(new RpcError(Status.ABORTED, "", { trailers: { "grpc-x": "1" } })),
  }), { onError: (error, context) => logged.push([error, context.method]) });
  for (const [name, code, message] of [
    ["coded", Status.NOT_FOUND, "no order 7: ☃"],
    ["late", Status.NOT_FOUND, "no order 7: ☃"],
    ["plain", Status.UNKNOWN, "RangeError: oh no"],
    ["text", Status.UNKNOWN, "a word"],
    ["nothing", Status.UNKNOWN, "undefined"],
    ["mute", Status.UNKNOWN, "object"],
    ["long", Status.INTERNAL, "é".repeat(1000)],
    ["nul", Status.INTERNAL, "a b\ufffd"],
    ["unsendable", Status.ABORTED, ""],
  ]) {
    const error = await failure(channel.call(`fail.${name}`), code);
    assert.deepEqual([error.message, error.fate], [message, "processed"]);
  }
  const error = await failure(channel.call("fail.coded"), Status.NOT_FOUND);
  assert.deepEqual([error.trailers.get("order"), error.fault], ["7", "caller"]);
  assert.equal(String(error), "NOT_FOUND: no order 7: ☃");
  assert.equal((await failure(channel.call("fail.none"), Status.UNIMPLEMENTED)).fate, "unsent");
  assert.deepEqual(logged.map(([, method]) => method), ["/fail/plain", "/fail/text", "/fail/nothing", "/fail/mute"]);
  assert.equal(logged[0][0].message, "oh no");
  for (const code of [0, 17, 1.5, undefined, "NOT_FOUND"]) assert.throws(() => new RpcError(code), TypeError);
});

it("an error of a handler is logged with its stack, unless the program says otherwise", async (t) => {
  const child = program(t, `
    const sick = new nebula.Service("sick", { go() { throw new RangeError("oh no"); } });
    nebula.serve(sick, { address: "tcp://127.0.0.1:0" })
      .then(async (server) => {
        await nebula.connect(server.urls[0]).call("sick.go").catch((error) => console.log(String(error)));
        server.close();
      })`);
  const [code, said] = await child.end();
  assert.equal(code, 0);
  assert.match(said, /^nebula: \/sick\/go failed: RangeError: oh no\n +at .*go \(/);
});

it("a lost connection tells how far the call got", async (t) => {
  const child = program(t, `
    nebula.run(new nebula.Service("lost", { hold() { console.log("held"); return new Promise(() => {}); } }))`);
  await child.line();
  const answer = nebula.service("lost").hold();
  assert.equal(await child.line(), "held");
  child.child.kill("SIGKILL");
  const error = await failure(answer, Status.UNAVAILABLE);
  assert.deepEqual([error.fate, error.fault], ["unknown", "network"]);
});

it("a server that closes cuts calls off, and one that drains lets them end", async (t) => {
  const { service, ended, entered } = waiting();
  const { server, channel } = await serve(t, service);
  const answer = failure(channel.call("wait.forever"), Status.UNAVAILABLE);
  await entered.take();
  server.close();
  assert((await ended.take()).cancelled);
  await answer;
  server.close();
  assert.deepEqual(server.urls, []);
  await assert.rejects(server.drain(), /does not run/);
  assert.throws(() => server.setHealth(true), /does not run/);

  const open = deferred();
  const held = deferred();
  const slow = await serve(t, new Service("slow", {
    async call() {
      held.resolve();
      await open.promise;
      return "done";
    },
  }));
  const last = slow.channel.call("slow.call");
  await held.promise;
  const drained = slow.server.drain();
  open.resolve();
  assert.equal(await last, "done");
  await drained;

  const stuck = waiting();
  const third = await serve(t, stuck.service, { drainTimeout: 3_600_000 });
  const cut = failure(third.channel.call("wait.forever"), Status.UNAVAILABLE);
  await stuck.entered.take();
  const draining = Promise.all([third.server.drain(), third.server.drain()]);
  third.server.close(); // which ends the drain
  await draining;
  await cut;

  const fourth = waiting();
  const hurried = await serve(t, fourth.service);
  const ending = hurried.channel.call("wait.forever").catch((error) => error);
  await fourth.entered.take();
  await assert.rejects(hurried.server.drain("soon"), /drainTimeout/);
  await hurried.server.drain(20);
  assert((await ending) instanceof RpcError);
  assert((await fourth.ended.take()).cancelled);
});

it("a channel and a server over TLS", async (t) => {
  const here = folder(t);
  const [key, certificate] = ["key.pem", "cert.pem"].map((name) => path.join(here, name));
  require("node:child_process").execFileSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate,
  ], { stdio: "ignore" });
  const server = await nebula.serve(new Service("safe", { peer: (_, context) => context.peer }), {
    address: "tls://127.0.0.1:0", tls: { certificate, key },
  });
  t.after(() => server.close());
  const channel = connect(t, server.urls[0], { tls: { authorities: certificate, serverName: "localhost" } });
  assert.match(await channel.call("safe.peer"), /^tls:/);
  await failure(connect(t, server.urls[0]).call("safe.peer"), Status.UNAVAILABLE);
  assert.throws(() => dial(server.urls[0], { tls: { authorities: "/none.pem" } }), /none.pem/);
});

it("compression is for those who ask", async (t) => {
  const text = "a".repeat(100_000);
  const { channel, server } = await serve(t, new Service("zip", { back: (value) => value }), { compression: "gzip" });
  for (const compression of ["gzip", "zstd"]) {
    assert.equal(await channel.call("zip.back", text, { compression }), text);
    assert.equal(await connect(t, server.urls[0], { compression }).call("zip.back", text), text);
  }
  await failure(channel.call("zip.back", text, { compression: "lzma" }), Status.INVALID_ARGUMENT);
  assert.throws(() => connect(t, server.urls[0], { compression: "lzma" }), /gzip/);
});

it("codes, fates and faults are those of nebula.h", async () => {
  const header = fs.readFileSync(path.join(ROOT, "capi/nebula.h"), "utf8");
  for (let code = 0; code <= 16; code++) {
    assert.match(header, new RegExp(`NEBULA_${Status[code]} = ${code}\\b`));
    assert.equal(Status[Status[code]], code);
  }
  const { FATES, FAULTS } = require("../lib/errors");
  FATES.forEach((fate, i) => assert.match(header, new RegExp(`NEBULA_FATE_${fate.toUpperCase()} = ${i}\\b`)));
  FAULTS.forEach((fault, i) => assert.match(header, new RegExp(`NEBULA_FAULT_${fault.toUpperCase()} = ${i}\\b`)));
});

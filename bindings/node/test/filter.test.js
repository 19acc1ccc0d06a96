// filter.test.js - filters around calls, on both sides and in all shapes.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const path = require("node:path");

const {
  Program, ROOT, all, assert, collect, connect, deferred, eventually, failure, it, nebula, program, serve,
} = require("./kit");
const { Echo } = require("./echo_pb");

const user = new AsyncLocalStorage();

/** A service that says what reached it, and counts its calls. */
function service(options) {
  const served = { calls: 0, waiting: deferred() };
  const handlers = {
    greet({ name = "world" }, context) {
      served.calls++;
      context.sendHeaders({ early: "1" });
      context.setTrailers({ late: context.metadata.get("tenant") ?? "none" });
      return `Hello ${name} of ${user.getStore() ?? "nobody"}`;
    },
    fail({ name }) {
      served.calls++;
      throw new nebula.RpcError(nebula.Status.NOT_FOUND, `no ${name}`, { trailers: { why: "test" } });
    },
    *count({ to }) {
      for (let number = 0; number < to; number++) yield number;
    },
    total: nebula.clientStream(async (numbers) => (await all(numbers)).reduce((sum, number) => sum + number, 0)),
    double: nebula.bidi(async function* (numbers) {
      for await (const number of numbers) yield 2 * number;
    }),
    async wait(request, context) {
      served.waiting.resolve();
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
    },
  };
  return [new nebula.Service("f", handlers, options), served];
}

async function client(t, filters, options) {
  const [served] = service();
  const { server } = await serve(t, served);
  return connect(t, server.urls[0], { filters: [].concat(filters) }).service("f", { timeout: 60_000, ...options });
}

it("the first filter is the outermost", async (t) => {
  const seen = [];
  const named = (name) => async (call, next) => {
    seen.push(`${name} in`);
    const answer = await next();
    seen.push(`${name} out`);
    return answer + name;
  };
  const f = await client(t, [named("a"), named("b")], { filters: named("c") });
  assert.equal(await f.greet({ name: "Ada" }, { filters: [named("d")] }), "Hello Ada of nobodydcba");
  assert.deepEqual(seen, ["a in", "b in", "c in", "d in", "d out", "c out", "b out", "a out"]);
});

it("metadata and request of a filter reach the server, headers and trailers the filter", async (t) => {
  const ends = [];
  const f = await client(t, async (call, next) => {
    assert.equal(call.method, "/f/greet");
    assert.equal(call.peer, "");
    assert.equal(call.metadata.get("own"), "1");
    assert.deepEqual([call.request, call.isStream, call.timeout], [{ name: "Ada" }, false, 60_000]);
    call.addMetadata("tenant", "a");
    call.request = { name: "Eve" };
    const answer = await next();
    ends.push(call.headers.get("early"), call.trailers.get("late"));
    return answer;
  });
  let trailers;
  const options = { metadata: { own: "1" }, onTrailers: (given) => (trailers = given) };
  assert.equal(await f.greet({ name: "Ada" }, options), "Hello Eve of nobody");
  assert.deepEqual(ends, ["1", "a"]);
  assert.equal(trailers.get("late"), "a");
});

it("a filter answers without next", async (t) => {
  const channel = connect(t, "tcp://127.0.0.1:1", { filters: [() => "cached"] });
  assert.equal(await channel.call("f.greet"), "cached");
  assert.deepEqual(await all(channel.stream("f.count", { to: 3 })), []);
  const stream = channel.open("f.double");
  assert.equal(await stream.send(1), false);
  assert.equal(await stream.receive(), undefined);
});

it("a filter calls next again, and what is inside begins anew", async (t) => {
  const tries = [];
  const again = async (call, next) => {
    const error = await next().catch((error) => error);
    assert.equal(error.trailers.get("why"), "test");
    assert.equal(call.trailers.get("why"), "test");
    call.request = { name: "second" };
    return next();
  };
  const adding = (call, next) => {
    tries.push([...call.metadata].length);
    call.addMetadata("try", "1");
    return next();
  };
  const f = await client(t, [again, adding]);
  assert.equal((await failure(f.fail({ name: "first" }), nebula.Status.NOT_FOUND)).message, "no second");
  assert.deepEqual(tries, [0, 0]);
});

it("what a filter throws is what the call rejects with", async (t) => {
  const refusing = await client(t, () => {
    throw new RangeError("no token");
  });
  await assert.rejects(refusing.greet(), RangeError);
  await assert.rejects(all(refusing.count.stream({ to: 3 })), RangeError);
  await assert.rejects(refusing.total([1][Symbol.iterator]()), RangeError);

  const softening = await client(t, async (call, next) => {
    await assert.rejects(next(), { code: nebula.Status.NOT_FOUND });
    throw new RangeError(call.trailers.get("why"));
  });
  await assert.rejects(softening.fail({ name: "x" }), /test/);
  await assert.rejects(all(softening.fail.stream({ name: "x" })), /test/);
});

/** Adds one to each number that goes there, and multiplies by ten what comes back. */
function counting(seen) {
  return async (call, next) => {
    const there = [];
    const back = [];
    call.onRequest((message) => {
      there.push(message);
      return typeof message === "number" ? message + 1 : message;
    });
    call.onAnswer((message) => {
      back.push(message);
      return message * 10;
    });
    const answer = await next();
    seen.push([there, back]);
    return answer;
  };
}

for (const side of ["client", "server"]) {
  it(`messages of all shapes pass through a filter of a ${side}`, async (t) => {
    const seen = [];
    const [served] = service(side === "server" ? { filters: [counting(seen)] } : {});
    const { server } = await serve(t, served);
    const f = connect(t, server.urls[0]).service("f", side === "client" ? { filters: [counting(seen)] } : {});
    assert.deepEqual(await all(f.count.stream({ to: 3 })), [0, 10, 20]);
    assert.equal(await f.total([1, 2].values()), 50);
    assert.deepEqual(await all(f.double.stream([1, 2].values())), [40, 60]);
    const stream = f.double.open();
    await stream.send(1);
    assert.equal(await stream.receive(), 40);
    stream.end();
    assert.equal(await stream.receive(), undefined);
    await eventually("the last one's end", () => seen.length === 4);
    assert.deepEqual(seen, [[[{ to: 3 }], [0, 1, 2]], [[1, 2], [5]], [[1, 2], [4, 6]], [[1], [4]]]);
  });
}

it("messages of protobuf pass as they are for its user", async (t) => {
  const served = new nebula.Service(Echo, { say: ({ text }) => ({ text: `${text}!` }) });
  const seen = [];
  const filters = [
    async (call, next) => {
      seen.push(call.method);
      call.request = { text: `${call.request.text}?` };
      const answer = await next();
      return { ...answer, text: answer.text.toUpperCase() };
    },
  ];
  const { server } = await serve(t, served, { filters });
  const echo = connect(t, server.urls[0], { filters }).service(Echo);
  assert.equal((await echo.say({ text: "a" })).text, "A??!");
  assert.deepEqual(seen, [seen[0], seen[0]]);
});

it("changes are made outermost first, and of answers innermost first", async (t) => {
  const echo = new nebula.Service("e", {
    same: nebula.bidi(async function* (lists) {
      yield* lists;
    }),
  });
  const { server } = await serve(t, echo);
  const adding = (text) => (call, next) => {
    call.onRequest((message) => [...message, text]);
    call.onAnswer((message) => [...message, text]);
    return next();
  };
  const e = connect(t, server.urls[0], { filters: [adding("a"), adding("b")] }).service("e");
  assert.deepEqual(await all(e.same.stream([[]].values())), [["a", "b", "b", "a"]]);
});

it("next is once for a stream", async (t) => {
  const f = await client(t, async (call, next) => {
    assert(call.isStream);
    await next();
    await next();
  });
  await assert.rejects(all(f.count.stream({ to: 1 })), /next\(\) is called once/);
});

it("the deadline is for all that filters do", async (t) => {
  const f = await client(t, async (call, next) => {
    call.timeout = 60_000; // does not make it longer
    await failure(next(), nebula.Status.DEADLINE_EXCEEDED);
    return next();
  });
  assert.equal((await failure(f.wait({}, { timeout: 30 }), nebula.Status.DEADLINE_EXCEEDED)).fate, "unsent");
  const shorter = await client(t, (call, next) => {
    call.timeout = 20;
    return next();
  });
  await failure(shorter.wait(), nebula.Status.DEADLINE_EXCEEDED);
  await failure(all(shorter.wait.stream()), nebula.Status.DEADLINE_EXCEEDED);
});

it("a signal goes through filters, and one hears of a caller that leaves", async (t) => {
  const left = deferred();
  const [served, { waiting }] = service({
    filters: [
      async (call, next) => {
        try {
          return await next();
        } finally {
          left.resolve(call.context.cancelled);
        }
      },
    ],
  });
  const { server } = await serve(t, served);
  const passing = (call, next) => next();
  const f = connect(t, server.urls[0], { filters: [passing] }).service("f");
  const abort = new AbortController();
  const call = f.wait({}, { signal: abort.signal });
  await waiting.promise;
  abort.abort();
  await failure(call, nebula.Status.CANCELLED);
  assert.equal(await left.promise, true);
});

it("a stream that is left or dropped ends its filters", async (t) => {
  const ended = [];
  const f = await client(t, async (call, next) => {
    ended.push((await next().catch((error) => error)).code);
  });
  for await (const number of f.count.stream({ to: 100_000 })) if (number === 2) break;
  await eventually("it has ended", () => ended.length === 1);
  await (async () => {
    const stream = f.double.open();
    await stream.send(1);
    assert.equal(await stream.receive(), 2);
  })();
  await eventually("it is collected", () => {
    collect();
    return ended.length === 2;
  });
  assert.deepEqual(ended, [nebula.Status.CANCELLED, nebula.Status.CANCELLED]);
});

it("a server filter refuses before the handler runs, and hands on its context", async (t) => {
  const [served, counts] = service();
  const { server } = await serve(t, served, {
    filters: [
      (call, next) => {
        if (call.metadata.get("token") !== "secret") {
          throw new nebula.RpcError(nebula.Status.UNAUTHENTICATED, "who are you?", { trailers: { realm: "test" } });
        }
        return user.run("Ada", next);
      },
    ],
  });
  const f = connect(t, server.urls[0]).service("f");
  assert.equal((await failure(f.greet(), nebula.Status.UNAUTHENTICATED)).trailers.get("realm"), "test");
  await failure(all(f.count.stream({ to: 3 })), nebula.Status.UNAUTHENTICATED);
  assert.equal(counts.calls, 0);
  assert.equal(await f.greet({}, { metadata: { token: "secret" } }), "Hello world of Ada");
});

it("a server filter sees and changes what there is of a call", async (t) => {
  const seen = [];
  const inner = (call, next) => {
    seen.push(call.request);
    return next();
  };
  const outer = async (call, next) => {
    assert(call.peer.startsWith("tcp://127.0.0.1:") && call.timeout <= 60_000);
    call.metadata = { tenant: `${call.metadata.get("tenant")}+` };
    call.request = { name: "Eve" };
    const answer = await next();
    seen.push(answer, call.trailers.get("late"));
    call.context.setTrailers({ late: "changed" });
    return answer.toUpperCase();
  };
  const [served] = service({ filters: [inner] });
  const { server } = await serve(t, served, { filters: [outer] });
  let trailers;
  const options = { metadata: { tenant: "a" }, timeout: 60_000, onTrailers: (given) => (trailers = given) };
  const answer = await connect(t, server.urls[0]).service("f").greet({ name: "Ada" }, options);
  assert.equal(answer, "HELLO EVE OF NOBODY");
  assert.deepEqual(seen, [{ name: "Eve" }, "Hello Eve of nobody", "a+"]);
  assert.equal(trailers.get("late"), "changed");
});

it("a server filter answers by itself, forgives, and hears of a malformed request", async (t) => {
  const schema = {
    "~standard": { version: 1, vendor: "test", validate: () => ({ issues: [{ message: "is none" }] }) },
  };
  const [served, counts] = service();
  const strict = new nebula.Service("strict", { greet: nebula.unary({ request: schema }, () => "never") });
  const filter = async (call, next) => {
    if (call.metadata.get("cached")) return "cached";
    try {
      return await next();
    } catch (error) {
      return `sorry: ${nebula.Status[error.code]}`;
    }
  };
  const { server } = await serve(t, [served, strict], { filters: [filter] });
  const channel = connect(t, server.urls[0]);
  assert.equal(await channel.call("f.greet", {}, { metadata: { cached: "1" } }), "cached");
  assert.equal(counts.calls, 0);
  assert.equal(await channel.call("f.fail", { name: "x" }), "sorry: NOT_FOUND");
  assert.equal(await channel.call("strict.greet", {}), "sorry: INVALID_ARGUMENT");
});

it("what a server filter throws is unknown, and told", async (t) => {
  const [served] = service();
  const told = [];
  const filter = () => {
    throw new RangeError("a mistake");
  };
  const { server } = await serve(t, served, { filters: [filter], onError: (error) => told.push(error.message) });
  const error = await failure(connect(t, server.urls[0]).call("f.greet"), nebula.Status.UNKNOWN);
  assert.equal(error.message, "RangeError: a mistake");
  assert.deepEqual(told, ["a mistake"]);
});

it("the example has a filter on each side", async (t) => {
  const example = new Program(t, process.execPath, [path.join(ROOT, "examples/1_hello/node/filter.js")]);
  assert.equal(await example.line(), "UNAUTHENTICATED: who are you?");
  assert.equal(await example.line(), "Hello Ada!");
  assert.deepEqual(await example.end(), [0, ""]);
});

it("use is for services that are called by name", async (t) => {
  const source = `
    nebula.use((call, next) => next().then((answer) => answer + "!"));
    nebula.use((call, next) => next().then((answer) => answer + "?"));
    const greet = () => "Hello";
    nebula.serve(new nebula.Service("used", { greet })).then(async (server) => {
      console.log(await nebula.service("used").greet());
      server.close();
    });`;
  assert.equal(await program(t, source).line(), "Hello?!");
});

it("what is no filter is refused where it is given", async (t) => {
  assert.throws(() => nebula.connect("tcp://127.0.0.1:1", { filters: ["log"] }), /a filter is a function/);
  assert.throws(() => nebula.use("log"), /a filter is a function/);
  assert.throws(() => new nebula.Service("x", { greet: () => 1 }, { filters: [1] }), /a filter is a function/);
  await assert.rejects(nebula.serve(service()[0], { filters: [1] }), /a filter is a function/);
});

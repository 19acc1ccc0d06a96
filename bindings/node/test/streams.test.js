// streams.test.js - many messages, either way and both: order, backpressure, and every way in which a stream ends.
"use strict";

const { all, assert, collect, deferred, eventually, failure, it, nebula, program, serve } = require("./kit");
const { Echo } = require("./echo_pb.js");

const { Service, Status } = nebula;

async function sumOf(numbers) {
  let sum = 0;
  for await (const number of numbers) sum += number;
  return sum;
}

const numbers = new Service("numbers", {
  async *count({ to }) {
    for (let i = 1; i <= to; i++) yield i;
  },
  *plain({ to }) {
    for (let i = 1; i <= to; i++) yield i;
  },
  array: nebula.serverStream(({ to }) => Array.from({ length: to }, (_, i) => i + 1)),
  sum: nebula.clientStream(sumOf),
  double: nebula.bidi(async function* (numbers) {
    for await (const number of numbers) yield number * 2;
  }),
});

const range = (to) => Array.from({ length: to }, (_, i) => i + 1);

it("each shape, with plain values", async (t) => {
  const { channel } = await serve(t, numbers);
  const client = channel.service("numbers");
  for (const method of ["count", "plain", "array"]) {
    assert.deepEqual(await all(client[method].stream({ to: 5 })), range(5));
    assert.deepEqual(await all(client[method].stream({ to: 0 })), []);
  }
  assert.equal(await client.sum(range(100).values()), 5050);
  assert.equal(await client.sum([].values()), 0);
  assert.deepEqual(await all(client.double.stream(range(3).values())), [2, 4, 6]);
  const stream = client.double.open();
  for (const number of range(3)) {
    assert.equal(await stream.send(number), true);
    assert.equal(await stream.receive(), number * 2);
  }
  stream.end();
  assert.equal(await stream.receive(), undefined);
  assert.equal(await stream.receive(), undefined, "and again");
});

it("each shape, with protobuf", async (t) => {
  const { channel } = await serve(t, new Service(Echo, {
    async *repeat({ text, number }) {
      for (let i = 0n; i < number; i++) yield { text, number: i };
    },
    async join(messages) {
      const got = await all(messages);
      return { text: got.map(({ text }) => text).join("+"), number: got.reduce((sum, { number }) => sum + number, 0n) };
    },
    async *chat(messages) {
      for await (const { text } of messages) yield { text: `${text}?` };
    },
  }));
  const echo = channel.service(Echo);
  assert.deepEqual((await all(echo.repeat({ text: "a", number: 3n }))).map(({ number }) => number), [0n, 1n, 2n]);
  const messages = [{ text: "a", number: 1n }, {}, { text: "c", number: 2n }];
  const { text, number } = await echo.join(messages);
  assert.deepEqual([text, number], ["a++c", 3n]);
  assert.deepEqual((await all(echo.chat(messages))).map(({ text }) => text), ["a?", "?", "c?"]);
  const open = echo.join.open();
  await open.send({ text: "x" });
  open.end();
  assert.equal((await open.answer()).text, "x");
  // A caller who sends JSON is answered so.
  const json = await all(channel.stream("/nebula.test.v1.Echo/Repeat", { text: "j", number: "2" }));
  assert.deepEqual(json, [{ text: "j" }, { text: "j", number: "1" }]);
});

it("ten thousand messages come in their order, either way", async (t) => {
  const { channel } = await serve(t, numbers);
  const client = channel.service("numbers");
  assert.deepEqual(await all(client.count.stream({ to: 10_000 })), range(10_000));
  assert.equal(await client.sum(range(10_000).values()), 50_005_000);
  assert.deepEqual(await all(client.double.stream(range(10_000).values())), range(10_000).map((number) => number * 2));
});

it("messages of every size, empty ones as well", async (t) => {
  const bytes = new Service("bytes", {
    back: nebula.bidi({ bytes: true }, (messages) => messages),
    make: nebula.serverStream({ bytes: true }, async function* () {
      for (const size of [0, 1, 300_000, 0]) yield new Uint8Array(size);
    }),
  });
  const { channel } = await serve(t, bytes);
  const sent = [0, 1, 1000, 0, 100_000, 2 << 20, 3].map((size) => Buffer.alloc(size, size));
  assert.deepEqual(await all(channel.stream("bytes.back", sent.values(), { bytes: true })), sent);
  const sizes = (await all(channel.stream("bytes.make", Buffer.alloc(0)))).map(({ length }) => length);
  assert.deepEqual(sizes, [0, 1, 300_000, 0]);
});

// A sender that is not stopped would be done within so many round trips: it gets its turn in each of them.
const ROUND_TRIPS = 200;

async function roundTrips(channel) {
  for (let i = 0; i < ROUND_TRIPS; i++) await channel.call("flood.ping");
}

it("a caller who does not read stops the server", async (t) => {
  let made = 0;
  const { channel } = await serve(t, new Service("flood", {
    ping: () => "pong",
    water: nebula.serverStream({ bytes: true }, async function* () {
      for (; made < ROUND_TRIPS; made++) yield Buffer.alloc(64 << 10, made);
    }),
  }));
  const water = channel.stream("flood.water", Buffer.alloc(0));
  await water.receive();
  await roundTrips(channel);
  assert(made < ROUND_TRIPS / 2, `${made} messages of 64 KiB were made for a caller who took one`);
  assert.equal((await all(water)).length, ROUND_TRIPS - 1);
});

it("a server that does not read stops the caller", async (t) => {
  const open = deferred();
  const { channel } = await serve(t, new Service("flood", {
    ping: () => "pong",
    drain: nebula.clientStream({ bytes: true }, async (messages) => {
      await open.promise;
      return Buffer.from(String((await all(messages)).length));
    }),
  }));
  let sent = 0;
  const answer = channel.call("flood.drain", (async function* () {
    for (; sent < ROUND_TRIPS; sent++) yield Buffer.alloc(64 << 10);
  })(), { bytes: true });
  await roundTrips(channel);
  assert(sent < ROUND_TRIPS / 2, `${sent} messages of 64 KiB were sent to a server that took none`);
  open.resolve();
  assert.equal(String(await answer), String(ROUND_TRIPS));
});

/** Methods that last until they are ended, and tell of it. */
function endless() {
  const ended = deferred();
  const entered = deferred();
  const service = new Service("endless", {
    async *count(_, context) {
      try {
        for (let i = 0; ; i++) {
          yield i;
          await new Promise(setImmediate);
        }
      } finally {
        ended.resolve(context);
      }
    },
    listen: nebula.clientStream(async (numbers, context) => {
      entered.resolve();
      try {
        return await sumOf(numbers);
      } finally {
        ended.resolve(context);
      }
    }),
    silent: nebula.bidi(async function* (_, context) {
      yield "here";
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      ended.resolve(context);
    }),
  });
  return { service, entered: entered.promise, ended: ended.promise };
}

it("leaving a loop ends the call, and the generator's finally block runs", async (t) => {
  const { service, ended } = endless();
  const { channel } = await serve(t, service);
  for await (const number of channel.stream("endless.count")) if (number === 3) break;
  const context = await ended;
  assert(context.cancelled);
  assert.equal(context.signal.reason.code, Status.CANCELLED);
});

it("a handler that computes while its caller leaves knows of it when it is ended", async (t) => {
  // The housekeeper reads what its thread is too busy for; its event comes after the answer that is refused.
  const busy = program(t, `nebula.run(new nebula.Service("busy", {
    async *count(_, context) {
      try {
        yield 1;
        while (context.peer !== "");
        yield 2;
      } finally {
        console.log("cancelled", context.cancelled);
      }
    },
  }))`);
  await busy.line();
  for await (const number of nebula.service("busy").count.stream()) if (number === 1) break;
  assert.equal(await busy.line(), "cancelled true");
});

it("messages of one turn arrive in their order, small and large, of any text, in several streams, and before an error", async (t) => {
  const text = (i) => (i % 7 === 0 ? "\u{1f680}\u00e9".repeat(i) : "x".repeat(i % 11 === 0 ? 9000 : i));
  const { channel } = await serve(t, new Service("mixed", {
    async *texts() {
      for (let i = 0; i < 700; i++) yield text(i);
      throw new nebula.RpcError(Status.DATA_LOSS, "that was all");
    },
    bytes: nebula.serverStream({ bytes: true }, async function* () {
      for (let i = 0; i < 700; i++) yield Buffer.from(text(i));
    }),
  }));
  const wanted = Array.from({ length: 700 }, (_, i) => text(i));
  const read = async (stream) => {
    const messages = [];
    for (let next; (next = await stream.receive().catch((error) => error)) !== undefined; messages.push(next)) {
      if (next instanceof nebula.RpcError) return { messages, error: next };
    }
    return { messages };
  };
  const streams = ["texts", "bytes", "texts"].map((name) =>
    read(channel.stream(`mixed.${name}`, name === "bytes" ? Buffer.from("all") : {}, { bytes: name === "bytes" })));
  const [first, bytes, second] = await Promise.all(streams);
  for (const { messages, error } of [first, second]) {
    assert.deepEqual(messages, wanted);
    assert.equal(error.code, Status.DATA_LOSS);
  }
  assert.deepEqual(bytes.messages.map(String), wanted);
});
it("cancel ends the call on both sides, and a generator that waits hears of it", async (t) => {
  const { service, ended } = endless();
  const { channel } = await serve(t, service);
  const stream = channel.open("endless.silent");
  assert.equal(await stream.receive(), "here");
  stream.cancel();
  const error = await failure(stream.receive(), Status.CANCELLED);
  assert.equal(error.fault, "caller");
  await ended;
  stream.cancel(); // which does nothing now
  await failure(stream.send("late"), Status.CANCELLED);
});

it("a handler does not take half of the requests for all", async (t) => {
  const { service, entered, ended } = endless();
  const { channel } = await serve(t, service);
  const requests = (async function* () {
    yield 1;
    await new Promise(() => {});
  })();
  const abort = new AbortController();
  const answer = channel.call("endless.listen", requests, { signal: abort.signal });
  await entered;
  abort.abort();
  await failure(answer, Status.CANCELLED);
  assert((await ended).cancelled);
});

it("a stream that nobody uses any more is ended by the garbage collector", async (t) => {
  const { service, ended } = endless();
  const { channel } = await serve(t, service);
  await (async () => assert.equal(await channel.stream("endless.count").receive(), 0))();
  let isOver = false;
  ended.then(() => (isOver = true));
  await eventually("it is collected", () => {
    collect();
    return isOver;
  });
});

it("what the iterator of requests throws is what the call fails with", async (t) => {
  const { service, entered, ended } = endless();
  const { channel } = await serve(t, service);
  const mine = new Error("out of numbers");
  await assert.rejects(channel.call("endless.listen", (async function* () {
    yield 1;
    await entered;
    throw mine;
  })()), mine);
  assert((await ended).cancelled);
  const bad = await failure(channel.call("endless.listen", [1n].values()), Status.INVALID_ARGUMENT);
  assert.match(bad.message, /^endless.listen: .*BigInt/);
});

it("a call that ends early ends its iterator of requests", async (t) => {
  const { channel } = await serve(t, new Service("picky", {
    first: nebula.clientStream(async (numbers) => {
      for await (const number of numbers) return number;
    }),
    none: nebula.clientStream(() => {
      throw new nebula.RpcError(Status.PERMISSION_DENIED, "not from you");
    }),
    well: nebula.bidi(async function* (lines) {
      for await (const line of lines) return yield line;
    }),
  }));
  const returned = deferred();
  const waiting = { next: () => new Promise(() => {}), return: () => returned.resolve() };
  await failure(channel.call("picky.none", waiting), Status.PERMISSION_DENIED);
  await returned.promise;
  const ended = deferred();
  assert.equal(await channel.call("picky.first", (async function* () {
    try {
      for (let i = 7; ; i++) yield i;
    } finally {
      ended.resolve();
    }
  })()), 7);
  await ended.promise;
  const stream = channel.open("picky.well");
  await stream.send("x");
  assert.equal(await stream.receive(), "x");
  assert.equal(await stream.receive(), undefined);
  assert.equal(await stream.send("y"), false, "the server wants no more");
});

it("headers come before the first answer, trailers after the last", async (t) => {
  const open = deferred();
  const { channel } = await serve(t, new Service("meta", {
    async *some(_, context) {
      context.sendHeaders({ first: "1" });
      context.setTrailers({ last: "2", "raw-bin": Buffer.from([0, 255]) });
      await open.promise;
      yield 1;
    },
    async *fail() {
      throw new nebula.RpcError(Status.ABORTED, "no", { trailers: { why: "so" } });
    },
  }));
  const stream = channel.stream("meta.some");
  assert.equal((await stream.headers()).get("first"), "1");
  assert.equal(stream.trailers, undefined);
  open.resolve();
  assert.deepEqual(await all(stream), [1]);
  assert.equal(stream.trailers.get("last"), "2");
  assert.deepEqual(stream.trailers.get("raw-bin"), Buffer.from([0, 255]));
  const failing = channel.stream("meta.fail");
  await failure(failing.headers(), Status.ABORTED);
  assert.equal((await failure(failing.receive(), Status.ABORTED)).trailers.get("why"), "so");
});

it("a wrong shape is told", async (t) => {
  const { channel } = await serve(t, numbers);
  const error = await failure(channel.call("numbers.count", { to: 3 }), Status.UNIMPLEMENTED);
  assert.equal(error.message, "numbers.count answers with a stream: iterate over numbers.count.stream(...)");
});

it("a handler that answers with a stream and gives none fails", async (t) => {
  const logged = [];
  const { channel } = await serve(t, new Service("wrong", { list: nebula.serverStream(() => 7) }), {
    onError: (error, context) => logged.push([error.name, context.method]),
  });
  await failure(all(channel.stream("wrong.list")), Status.UNKNOWN);
  assert.deepEqual(logged, [["TypeError", "/wrong/list"]]);
});

it("a thousand streams at once", async (t) => {
  const { channel } = await serve(t, numbers);
  const streams = range(1000).map(() => channel.open("numbers.double"));
  for (const round of [1, 2, 3]) {
    await Promise.all(streams.map((stream, i) => stream.send(i * round)));
    const answers = await Promise.all(streams.map((stream) => stream.receive()));
    answers.forEach((answer, i) => assert.equal(answer, i * round * 2));
  }
  for (const stream of streams) stream.end();
  for (const stream of streams) assert.equal(await stream.receive(), undefined);
});

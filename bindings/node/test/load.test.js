// load.test.js - many at once, and what is left behind.
"use strict";

const fs = require("node:fs");

const { all, assert, collect, deferred, eventually, it, nebula, serve } = require("./kit");
const { openCount } = require("../lib/engine");

const { Service } = nebula;

it("ten thousand calls in flight", async (t) => {
  const COUNT = 10_000;
  const open = deferred();
  const arrived = deferred();
  let count = 0;
  const { channel, server } = await serve(t, new Service("crowd", {
    async wait(number) {
      if (++count === COUNT) arrived.resolve();
      await open.promise;
      return number;
    },
  }), { maxStreams: 2 * COUNT });
  const before = openCount();
  const answers = Array.from({ length: COUNT }, (_, i) => channel.call("crowd.wait", i));
  await arrived.promise; // all of them are in their handlers
  assert.equal(openCount(), before + COUNT);
  open.resolve();
  (await Promise.all(answers)).forEach((answer, i) => assert.equal(answer, i));
  assert.equal(openCount(), before);
  server.close();
  assert.equal(openCount(), before - 1);
});

const numbers = new Service("numbers", {
  one(number, context) {
    context.sendHeaders({ kind: "number" });
    return number;
  },
  async *count({ to }) {
    for (let i = 0; i < to; i++) yield i;
  },
  chat: nebula.bidi((lines) => lines),
});

it("many calls leave nothing behind", async (t) => {
  const { channel } = await serve(t, numbers);
  const before = openCount();
  const round = (calls) => Promise.all(Array.from({ length: 50 }, async (_, worker) => {
    for (let i = 0; i < calls; i++) {
      if ((worker + i) % 3 === 0) assert.equal(await channel.call("numbers.one", i), i);
      else if ((worker + i) % 3 === 1) assert.equal((await all(channel.stream("numbers.count", { to: 3 }))).length, 3);
      else await channel.open("numbers.chat").send(1); // dropped in the middle
      // Those count as open on their connection until they are collected.
      if (worker === 0 && i % 10 === 0) collect();
    }
  }));
  const used = async () => {
    await eventually("all calls are over", () => {
      collect();
      return openCount() === before;
    });
    return process.memoryUsage().heapUsed;
  };
  await round(20);
  const heap = await used();
  await round(200); // 10,000
  const grown = (await used()) - heap;
  assert(grown < 4 << 20, `${grown} bytes more are in use, of 10,000 calls`);
});

// Handles go while their calls run; none may take another's with it, and no call that is waited for may be cut off.
it("the collector races with calls", async (t) => {
  const { server } = await serve(t, numbers);
  let isOver = false;
  const collecting = (async () => {
    while (!isOver) {
      collect();
      await new Promise(setImmediate);
    }
  })();
  await Promise.all(Array.from({ length: 8 }, async () => {
    for (let i = 0; i < 25; i++) {
      // The channel is referred to by nothing but the call.
      assert.equal(await nebula.connect(server.urls[0]).call("numbers.one", i), i);
      assert.equal((await all(nebula.connect(server.urls[0]).stream("numbers.count", { to: 20 }))).length, 20);
    }
  }));
  isOver = true;
  await collecting;
});

it("channels that are dropped are closed", async (t) => {
  const { server } = await serve(t, numbers);
  const open = () => fs.readdirSync("/proc/self/fd").length;
  const before = open();
  await (async () => {
    const channels = Array.from({ length: 20 }, () => nebula.connect(server.urls[0]));
    await Promise.all(channels.map((channel) => channel.call("numbers.one", 1)));
    assert(open() >= before + 40, "a socket at each end");
  })();
  await eventually("they are collected", () => {
    collect();
    return open() <= before;
  });
});

it("a mistake in a callback ends the program as any other does, and costs no other call its answer", async (t) => {
  const { channel } = await serve(t, numbers);
  const mistakes = [];
  const caught = (error) => mistakes.push(error.message);
  process.setUncaughtExceptionCaptureCallback(caught);
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const onHeaders = () => {
    throw new Error("in onHeaders");
  };
  const answers = Array.from({ length: 10 }, (_, i) => channel.call("numbers.one", i, i === 3 ? { onHeaders } : {}));
  assert.deepEqual(await Promise.all(answers), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual(mistakes, ["in onHeaders"]);
});

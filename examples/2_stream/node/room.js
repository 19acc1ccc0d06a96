// node/room.js - streams: a service that counts down and one that one can talk with.
const { setTimeout: sleep } = require("node:timers/promises");
const nebula = require("nebula");

async function* countdown({ start = 3 }) {
  for (let number = start; number > 0; number--) {
    yield number;
    await sleep(100);
  }
}

const chat = nebula.bidi(async function* (lines) {
  for await (const line of lines) yield `${line}? Tell me more.`;
});

nebula.run(new nebula.Service("room", { countdown, chat }));

// node/guest.js - reads a stream, and talks over another.
const nebula = require("nebula");

async function main() {
  const room = nebula.service("room", { timeout: 10_000 });
  for await (const number of room.countdown.stream({ start: 3 })) console.log(number);

  const chat = room.chat.open();
  for (const line of ["Hello", "I am Ada"]) {
    await chat.send(line);
    console.log(await chat.receive());
  }
  chat.end();
}

main();

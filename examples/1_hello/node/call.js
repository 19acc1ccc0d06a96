// node/call.js - calls both services by their names, whatever language they are in.
const nebula = require("nebula");
const { Clock } = require("./clock_pb.js");

async function main() {
  const greeting = await nebula.service("hello").greet({ name: "Ada" }, { timeout: 5000 });
  console.log(greeting);

  const { utc } = await nebula.service(Clock).now({}, { timeout: 5000 });
  console.log(utc);
}

main();

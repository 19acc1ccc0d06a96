// node/clock.js - a service of clock.proto, with the classes that protoc-gen-es makes of it.
const nebula = require("nebula");
const { Clock } = require("./clock_pb.js");

function now() {
  const time = Date.now();
  return { utc: new Date(time).toISOString(), unixNanos: BigInt(time) * 1_000_000n };
}

nebula.run(new nebula.Service(Clock, { now }));

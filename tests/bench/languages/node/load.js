// load.js - Nebula and @grpc/grpc-js: serves, or loads.
//
// usage: load.js serve <library> | load <library> <host:port> <case> <seconds>
//        library: nebula, grpc
"use strict";

const path = require("node:path");
const { performance } = require("node:perf_hooks");

const IN_FLIGHT = 64;
const STREAM = 2_000;
const MESSAGE = { value: new Uint8Array(124) }; // 128 bytes on the wire

// ---- each library: a server, and a client of two functions that make a call, or read a stream

const nebulaLibrary = () => {
  const nebula = require("nebula");
  const { Load } = require("./load_pb.js");
  return {
    async serve() {
      const handlers = {
        unary: (value) => value,
        async *count({ value: until }) {
          for (let value = 0n; value < until; value++) yield { value };
        },
      };
      const server = await nebula.serve(new nebula.Service(Load, handlers), { address: "tcp://127.0.0.1:0" });
      return [server.urls[0].replace("tcp://", ""), () => server.close()];
    },
    client(address) {
      const channel = nebula.connect(`tcp://${address}`);
      const load = channel.service(Load);
      return {
        unary: () => load.unary(MESSAGE),
        async stream() {
          for await (const _ of load.count({ value: BigInt(STREAM) }));
        },
        close: () => channel.close(),
      };
    },
  };
};

const grpcLibrary = () => {
  const grpc = require("@grpc/grpc-js");
  const loader = require("@grpc/proto-loader");
  const file = path.join(__dirname, "../../../../proto/bench/load.proto");
  const { Load } = grpc.loadPackageDefinition(loader.loadSync(file, { longs: Number })).bench;
  return {
    async serve() {
      const server = new grpc.Server();
      server.addService(Load.service, {
        unary: (call, answer) => answer(null, call.request),
        async count(call) {
          for (let value = 0; value < call.request.value; value++)
            if (!call.write({ value })) await new Promise((resolve) => call.once("drain", resolve));
          call.end();
        },
      });
      const credentials = grpc.ServerCredentials.createInsecure();
      const port = await new Promise((resolve, reject) =>
        server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port))));
      return [`127.0.0.1:${port}`, () => server.forceShutdown()];
    },
    client(address) {
      const client = new Load(address, grpc.credentials.createInsecure());
      return {
        unary: () => new Promise((resolve, reject) =>
          client.unary(MESSAGE, (error, answer) => (error ? reject(error) : resolve(answer)))),
        async stream() {
          for await (const _ of client.count({ value: STREAM }));
        },
        close: () => client.close(),
      };
    },
  };
};

// ---- load

async function load({ unary, stream, close }, name, seconds) {
  const call = name === "stream" ? stream : unary;
  const begins = performance.now() + (seconds * 1000) / 3;
  const ends = begins + (seconds * 2000) / 3;
  const took = [];
  let hasBegun = false;
  const work = async () => {
    for (let began = performance.now(); began < ends; ) {
      await call();
      const now = performance.now();
      if (began >= begins) took.push(now - began);
      else if (now >= begins && !hasBegun) {
        hasBegun = true;
        console.log("begin");
      }
      began = now;
    }
  };
  await Promise.all(Array.from({ length: name === "unary64" ? IN_FLIGHT : 1 }, work));
  const length = (performance.now() - begins) / 1000;
  took.sort((a, b) => a - b);
  const count = took.length * (name === "stream" ? STREAM : 1);
  console.log(JSON.stringify({ count, seconds: length, p50_us: took[took.length >> 1] * 1000 }));
  close();
}

async function main(role, library, address, name, seconds) {
  const { serve, client } = library === "nebula" ? nebulaLibrary() : grpcLibrary();
  if (role === "load") return load(client(address), name, Number(seconds));
  const [url, close] = await serve();
  console.log(url);
  process.stdin.resume().on("end", close);
}

main(...process.argv.slice(2));

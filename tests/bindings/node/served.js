// node/served.js - the service: each request says what its handler does, in the order of conformance.proto.
"use strict";

const { once } = require("node:events");
const { setTimeout: sleep } = require("node:timers/promises");

const { create } = require("@bufbuild/protobuf");
const nebula = require("nebula");

const { AskSchema, Conformance } = require("./conformance_pb");

const records = new Map(); // by key
let itself; // the channel to this server, for what is relayed

/** One call as it is handled: `first` is its first request. */
class Deed {
  record = { state: "running", received: 0n, sent: 0n };
  bytes = 0n; // of the payloads that came
  relayed;

  constructor(first, context) {
    this.first = first;
    this.context = context;
    if (first.key) records.set(first.key, this.record);
    if (first.trailers.length > 0) context.setTrailers(first.trailers.map(entryOf));
    if (first.headers.length > 0) context.sendHeaders(first.headers.map(entryOf));
  }

  /** Notes how the handler has ended. */
  end() {
    this.record.state = this.context.cancelled ? "cancelled" : "finished";
  }

  take(ask) {
    this.record.received++;
    this.bytes += BigInt(ask.payload.length);
  }

  /** Waits, relays if that was not done yet, and answers with what `ask` has. */
  async answer(ask) {
    const { first, context, record } = this;
    if (first.delayMs) await sleep(first.delayMs, undefined, { signal: context.signal });
    if (first.relay) this.relayed ??= await this.relay();
    const left = context.timeRemaining;
    return {
      payload: first.answerSize ? new Uint8Array(first.answerSize) : ask.payload,
      text: ask.text,
      number: ask.number,
      metadata: [...context.metadata].filter(([name]) => name.startsWith("x-")).map(pairOf),
      leftMs: BigInt(left === undefined ? -1 : Math.floor(left)),
      received: record.received,
      receivedBytes: this.bytes,
      index: record.sent,
      relayed: this.relayed,
    };
  }

  relay() {
    const { relay, relayTimeoutMs, detached } = this.first;
    const options = relayTimeoutMs ? { timeout: relayTimeoutMs } : {};
    const call = () => itself.service(Conformance).unary(relay, options);
    return detached ? nebula.detached(call) : call();
  }

  /** The single answer. */
  async finish() {
    const answer = await this.answer(this.first);
    this.fail();
    this.record.sent++;
    return answer;
  }

  /** Fails if it is to. */
  fail() {
    const { status, message } = this.first;
    if (this.first.throw) throw new Error(message);
    if (status) throw new nebula.RpcError(status, message);
  }
}

const isBytes = (name) => name.endsWith("-bin");
const entryOf = ({ name, text, data }) => [name, isBytes(name) ? data : text];
const pairOf = ([name, value]) => (isBytes(name) ? { name, data: value } : { name, text: value });

const handlers = {
  async unary(ask, context) {
    const deed = new Deed(ask, context);
    try {
      deed.take(ask);
      return await deed.finish();
    } finally {
      deed.end();
    }
  },

  async collect(asks, context) {
    let deed;
    try {
      for await (const ask of asks) {
        deed ??= new Deed(ask, context);
        deed.take(ask);
        if (deed.first.early) break;
      }
      deed ??= new Deed(create(AskSchema), context);
      return await deed.finish();
    } finally {
      deed?.end();
    }
  },

  async *produce(ask, context) {
    const deed = new Deed(ask, context);
    try {
      deed.take(ask);
      for (; deed.record.sent < ask.answers; deed.record.sent++) yield await deed.answer(ask);
      deed.fail();
    } finally {
      deed.end();
    }
  },

  async *chat(asks, context) {
    let deed;
    try {
      for await (const ask of asks) {
        deed ??= new Deed(ask, context);
        deed.take(ask);
        yield await deed.answer(ask);
        deed.record.sent++;
        if (deed.first.early) break;
      }
      deed?.fail();
    } finally {
      deed?.end();
    }
  },

  recall: ({ key }) => records.get(key) ?? { state: "unknown" },
};

async function serve(...address) {
  const options = { address, announce: Conformance.typeName };
  const server = await nebula.serve(new nebula.Service(Conformance, handlers), options);
  itself = nebula.connect(server.urls[0]);
  console.log(server.urls.join(" "));
  await once(process, "SIGTERM");
  await server.drain();
  server.close();
}

module.exports = { serve };

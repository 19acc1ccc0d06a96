// node/called.js - runs a case: one call, or many of one kind, and says what came of it.
"use strict";

const { performance } = require("node:perf_hooks");
const { setTimeout: sleep } = require("node:timers/promises");

const { fromBinary, fromJson, toBinary, toJson } = require("@bufbuild/protobuf");
const nebula = require("nebula");

const { AnswerSchema, AskSchema, Conformance, RecordSchema } = require("./conformance_pb");

// Answers of a result at most; of more only the first and the last.
const SHOWN_MAX = 20;
// How long a call may run on before it is asked for no more, and how often it is.
const RECALL_MAX_MS = 5000;
const RECALL_PAUSE_MS = 5;

/** One call of a case. */
class Attempt {
  answers = [];
  count = 0;
  sent = 0;
  headers = [];
  trailers = [];
  #abort = new AbortController();

  constructor(channel, given) {
    this.case = given;
    this.channel = channel;
    this.isJson = given.codec === "json";
    const { timeout_ms: timeout, wait_for_ready: waitForReady, idempotent, compression } = given;
    this.options = {
      timeout, waitForReady, idempotent, compression, signal: this.#abort.signal,
      metadata: (given.metadata ?? []).map(({ name, text, data }) => [name, text ?? Buffer.from(data, "base64")]),
    };
  }

  /** What came of it. */
  async run() {
    const began = performance.now();
    let end = { code: 0 };
    let timer;
    try {
      const calling = this.begin();
      const { cancel = "" } = this.case;
      if (cancel === "start") this.#abort.abort();
      if (cancel.startsWith("ms:")) timer = setTimeout(() => this.#abort.abort(), Number(cancel.slice(3)));
      await calling;
    } catch (error) {
      if (!(error instanceof nebula.RpcError)) throw error;
      const { code, message, fate, fault, trailers } = error;
      end = { code, message, fate, fault };
      this.trailers = trailers;
    } finally {
      clearTimeout(timer);
    }
    const tookMs = performance.now() - began;
    if (this.case.cancel === "end") this.#abort.abort();
    return {
      ...(this.isDropped ? {} : end), // nobody is there to hear of it
      ...(this.case.send_after_end ? { late: await this.sendLate() } : {}),
      answers: this.isJson ? this.answers : this.answers.map((answer) => toJson(AnswerSchema, answer)),
      count: this.count, sent: this.sent,
      headers: pairsOf(this.headers), trailers: pairsOf(this.trailers), took_ms: tookMs,
    };
  }

  /** Calls as the method's shape has it: by its description, or by its name with the language's own values. */
  begin() {
    const { method } = this.case;
    const { typeName } = Conformance;
    const dynamic = this.channel.service(typeName);
    const described = this.channel.service(Conformance);
    const onHeaders = (headers) => (this.headers = headers);
    const onTrailers = (trailers) => (this.trailers = trailers);
    const options = { ...this.options, onHeaders, onTrailers };
    switch (method) {
      case "Collect":
        return this.one((this.isJson ? dynamic.Collect : described.collect)(this.requests(), options));
      case "Produce":
        return this.readAll((this.isJson ? dynamic.Produce.stream : described.produce)(this.only(), this.options));
      case "Chat":
        return this.chat(this.isJson ? dynamic.Chat.open(this.options) : described.chat(undefined, this.options));
      case "Unary":
        return this.one((this.isJson ? dynamic.Unary : described.unary)(this.only(), options));
      default: // what nobody has described is called with bytes
        return this.one(this.channel.call(method, toBinary(AskSchema, this.only()), options));
    }
  }

  *asks() {
    for (const { times = 1, ...ask } of this.case.asks ?? []) {
      const request = this.isJson ? ask : fromJson(AskSchema, ask);
      for (let i = 0; i < times; i++) yield request;
    }
  }

  only() {
    return this.asks().next().value;
  }

  /** What Collect draws from. */
  async *requests() {
    for (const ask of this.asks()) {
      yield ask;
      this.sent++;
    }
    if (this.case.keep_open) await new Promise(() => {});
  }

  async one(calling) {
    const answer = await calling;
    this.took(Buffer.isBuffer(answer) ? fromBinary(AnswerSchema, answer) : answer);
  }

  async chat(stream) {
    this.stream = stream;
    try {
      await this.sendAll(stream);
    } catch (error) {
      if (!(error instanceof nebula.RpcError)) throw error; // else reading says so, after what was answered before
    }
    if (!this.isDropped) await this.readAll(stream);
  }

  async sendAll(stream) {
    for (const ask of this.asks()) {
      if (!(await stream.send(ask))) return;
      this.sent++;
      if (!this.case.pingpong) continue;
      const answer = await stream.receive();
      if (answer === undefined) return;
      await this.took(answer);
      if (this.isDropped) return stream.cancel();
    }
    if (!this.case.keep_open) stream.end();
  }

  async readAll(stream) {
    try {
      for await (const answer of stream) {
        await this.took(answer);
        if (this.isDropped) return;
      }
    } finally {
      if (!this.isDropped) this.headers = await stream.headers().catch(() => []); // none: it failed before
    }
    this.trailers = stream.trailers;
  }

  /** Keeps an answer, and does what is to be done then. */
  async took(answer) {
    this.count++;
    if (this.count > SHOWN_MAX) this.answers.length = 1;
    this.answers.push(answer);
    const { cancel, drop, pause_ms: pause, read } = this.case;
    if (this.count === read) await sleep(pause);
    if (cancel === `answers:${this.count}`) this.#abort.abort();
    this.isDropped = drop === `answers:${this.count}`;
  }

  async sendLate() {
    try {
      return (await this.stream.send(this.only())) ? "ignored" : "error";
    } catch {
      return "error";
    }
  }
}

/** Those that are ours, as a result has them. */
function pairsOf(metadata) {
  const ours = [...metadata].filter(([name]) => name.startsWith("x-"));
  return ours.map(([name, value]) =>
    typeof value === "string" ? { name, text: value } : { name, data: value.toString("base64") });
}

/** The case as often as it says: how often each code came. */
async function many(channel, given) {
  const codes = {};
  let left = given.times;
  await Promise.all(Array.from({ length: given.at_once ?? 1 }, async () => {
    while (left-- > 0) {
      const { code } = await new Attempt(channel, given).run();
      codes[code] = (codes[code] ?? 0) + 1;
    }
  }));
  return { codes };
}

/** What has become of a call, as soon as that is known. */
async function recall(channel, key) {
  const end = performance.now() + RECALL_MAX_MS;
  for (;;) {
    const record = await channel.service(Conformance, { timeout: RECALL_MAX_MS }).recall({ key });
    if (record.state !== "running" || performance.now() > end) return toJson(RecordSchema, record);
    await sleep(RECALL_PAUSE_MS);
  }
}

/** The result of a case; `broken`, if this program could not do it. */
async function report(channel, given) {
  const { name } = given;
  try {
    const result = given.times === undefined ? await new Attempt(channel, given).run() : await many(channel, given);
    const record = given.recall === undefined ? {} : { record: await recall(channel, given.recall) };
    return { name, ...result, ...record };
  } catch (error) {
    return { name, broken: String(error) };
  }
}

module.exports = { report };

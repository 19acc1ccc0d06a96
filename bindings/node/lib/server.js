// server.js - serving: each call runs its method's handler, and what that returns, yields or throws is its answer.
"use strict";

const abi = require("./abi");
const { compressionOf } = require("./codec");
const { Context, current } = require("./context");
const { descriptorSet, documentOf } = require("./describe");
const engine = require("./engine");
const { Status, RpcError } = require("./errors");
const { FilteredCall, filtersOf, runFilters } = require("./filter");
const { Flow } = require("./flow");
const { checkOptions, numbersOf, tlsOf } = require("./names");
const outbox = require("./outbox");
const { BadReply, Service, isPromise } = require("./service");

// A message of an error travels in the trailers, which have little room.
const ERROR_BYTES = 2000;

const NUMBERS = [
  "maxMessage", "maxStreams", "maxConnections", "keepalive", "keepaliveTimeout", "minPing", "maxIdle", "maxAge",
  "maxAgeGrace",
];
const OPTIONS = [...NUMBERS, "address", "announce", "tls", "compression", "drainTimeout", "onError", "filters"];

const listOf = (value) => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

class Server {
  #options;
  #handle;
  #tags = [];
  #running = new Map(); // Context by call
  #drained; // a promise, of a server that drains
  #stop; // ends that

  constructor(services, options = {}) {
    checkOptions(options, OPTIONS);
    this.services = listOf(services);
    if (!this.services.every((service) => service instanceof Service)) {
      throw new TypeError("what is served is new Service(...)");
    }
    this.#options = options;
    filtersOf(options.filters); // which are functions
  }

  /** Listens and announces: whoever looks on this host finds it then. Throws what the engine refuses. */
  start() {
    if (this.#tags.length) throw new Error("a server is started once");
    const { address, announce } = this.#options;
    const numbers = { ...numbersOf(this.#options, NUMBERS), compression: compressionOf(this.#options.compression) };
    const tls = tlsOf(this.#options.tls);
    engine.open();
    this.#handle = abi.serverNew(numbers);
    engine.hold();
    try {
      for (const service of this.services) {
        const filters = filtersOf(this.#options.filters, service.filters);
        for (const method of service.methods) this.#add(method, filters);
        const text = documentOf(service);
        if (text) abi.serverSchema(this.#handle, service.name, text);
      }
      const set = descriptorSet(this.services);
      if (set) abi.serverDescribe(this.#handle, set);
      for (const each of address === undefined ? [undefined] : listOf(address)) {
        const names = announce === undefined ? undefined : listOf(announce).join(",");
        abi.serverListen(this.#handle, each && String(each), names, /^tls:/.test(each) ? tls : undefined);
      }
      abi.serverStart(this.#handle);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #add(method, filters) {
    const tag = engine.newTag();
    this.#tags.push(tag);
    try {
      abi.serverMethod(this.#handle, method.path, method.shape | (method.takesStream ? abi.HOLD : 0), tag);
    } catch (error) {
      throw new Error(`${method.label}: taken, or no method: ${error.message}`, { cause: error });
    }
    engine.know(tag, { receive: (event) => this.#on(method, filters, event) });
  }

  /** The addresses in use, with the ports that were chosen. */
  get urls() {
    return this.#handle ? abi.serverUrls(this.#handle).split(" ") : [];
  }

  /** What grpc.health.v1 says of a service; "" is the server as a whole. */
  setHealth(isServing, service = "") {
    this.#check();
    abi.serverHealth(this.#handle, String(service), isServing ? 1 : 2);
  }

  #check() {
    if (!this.#handle) throw new Error("the server does not run");
  }

  /** Withdraws, sends clients elsewhere, and waits so many milliseconds for running calls, which are ended then. */
  async drain(drainTimeout = this.#options.drainTimeout ?? 10_000) {
    this.#check();
    const { drainTimeout: timeout } = numbersOf({ drainTimeout }, ["drainTimeout"]);
    await (this.#drained ??= new Promise((resolve) => {
      const tag = engine.newTag();
      this.#stop = () => {
        engine.forget(tag);
        resolve();
      };
      engine.know(tag, { receive: this.#stop });
      abi.serverDrain(this.#handle, Math.min(timeout, 0x7fffffff), tag);
    }));
  }

  /** Stops at once: calls that run are cut off. Harmless when repeated. */
  close() {
    if (!this.#handle) return;
    abi.free(this.#handle);
    this.#handle = undefined;
    for (const tag of this.#tags) engine.forget(tag);
    for (const call of this.#running.keys()) this.#died(call, Status.CANCELLED);
    this.#stop?.();
    engine.release();
  }

  // ---- calls ------------------------------------------------------------------------------------------------------

  #on(method, filters, event) {
    if (event.kind === abi.EV_CALL) this.#begin(method, filters, event);
    else if (event.kind === abi.EV_CANCELLED) this.#died(event.call, event.status);
    else this.#running.get(event.call)?.flow_.on(event);
  }

  #begin(method, filters, event) {
    const context = new Context(method, event, new Flow(event.call));
    let codec;
    try {
      codec = method.codecOf(event);
    } catch (error) {
      return this.#fail(context, method, error);
    }
    this.#running.set(event.call, context);
    current.run(context, () => this.#handleCall(method, filters, context, codec, event.data));
  }

  #died(call, status) {
    this.#running.get(call)?.die_(status);
    this.#running.delete(call);
  }

  async #handleCall(method, filters, context, codec, data) {
    try {
      if (filters) return await handleFiltered(method, filters, context, codec, data);
      const request = method.takesStream ? requests(method, context, codec) : method.read(codec, data);
      const result = method.handler(isPromise(request) ? await request : request, context);
      if (method.givesStream) {
        for await (const value of result) {
          const sent = context.flow_.send(method.write(codec, value), context.compress ? abi.COMPRESS : 0);
          if (sent !== true && !(await sent)) return;
        }
        answer(context);
      } else {
        answer(context, method.write(codec, isPromise(result) ? await result : result));
      }
    } catch (error) {
      this.#fail(context, method, error);
    } finally {
      this.#running.delete(context.flow_.call);
      context.flow_.end(); // whoever still holds a stream of it gets no more
    }
  }

  #fail(context, method, error) {
    if (context.cancelled) return; // nobody is there to hear of it
    const isCoded = error instanceof RpcError;
    outbox.flush();
    const [code, message] = isCoded ? [error.code, error.message] : [Status.UNKNOWN, textOf(error)];
    abi.callFinish(context.flow_.call, code, sendable(message), trailersOf(error, context));
    if (!isCoded || error instanceof BadReply) this.#log(error, context);
  }

  /** Of an error that is no answer, but a mistake. */
  #log(error, context) {
    if (this.#options.onError) this.#options.onError(error, context);
    else console.error(`nebula: ${context.method} failed:`, error);
  }
}

/** The same by way of filters. */
async function handleFiltered(method, filters, context, codec, data) {
  const isStream = method.takesStream || method.givesStream;
  const read = method.takesStream ? undefined : await reading(method, codec, data);
  const { metadata, timeRemaining: timeout } = context;
  const call = new FilteredCall({ method: method.path, metadata, timeout, isStream, context, read });
  const last = async (inner) => {
    if (inner.metadata !== metadata) context.amend_(inner.metadata);
    const request = method.takesStream ? changedRequests(method, context, codec, inner) : inner.request;
    const result = method.handler(request, context);
    if (!method.givesStream) return result;
    for await (const value of result) {
      const bytes = method.write(codec, inner.changeAnswer_(value));
      const sent = context.flow_.send(bytes, context.compress ? abi.COMPRESS : 0);
      if (sent !== true && !(await sent)) break;
    }
    return undefined;
  };
  const value = await runFilters(filters, call, last, !method.givesStream);
  answer(context, method.givesStream ? undefined : method.write(codec, value));
}

/** Gives the request, or throws what is wrong with it, where it is first asked for. */
async function reading(method, codec, data) {
  try {
    const request = await method.read(codec, data);
    return () => request;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

async function* changedRequests(method, context, codec, inner) {
  for await (const request of requests(method, context, codec)) yield inner.changeRequest_(request);
}

/** The messages that a handler takes. It must not take half of them for all. */
async function* requests(method, context, codec) {
  for (;;) {
    const data = await context.flow_.receive();
    if (data === null) {
      context.check_();
      return;
    }
    yield method.read(codec, data);
  }
}

/** Sends the single answer, or ends a stream of them, with what there is of trailers. */
function answer(context, data) {
  const { call } = context.flow_;
  const compress = context.compress ? abi.COMPRESS : 0;
  let result = 0;
  outbox.flush();
  if (!context.trailers_) {
    result = abi.callSend(call, data, abi.END | compress);
  } else {
    if (data !== undefined) result = abi.callSend(call, data, compress);
    if (result >= 0) result = abi.callFinish(call, Status.OK, undefined, context.trailers_);
  }
  if (result < 0 && result !== abi.E_STALE) throw new Error(`the answer was not sent: ${abi.strerror(result)}`);
}

/** Of an error its own, else those of the handler. */
function trailersOf(error, context) {
  try {
    return (error instanceof RpcError && error.trailers.pack()) || context.trailers_;
  } catch {
    return context.trailers_; // those of another server, handed on, which may not be ours to send
  }
}

/** Of whatever a handler throws: not all that can be thrown can be told. */
function textOf(error) {
  try {
    return String(error);
  } catch {
    return typeof error;
  }
}

/** UTF-8 without NUL, and not too long. */
function sendable(message) {
  const bytes = Buffer.from(message.replaceAll("\0", " "));
  if (bytes.length <= ERROR_BYTES) return bytes.toString();
  let end = ERROR_BYTES;
  while ((bytes[end] & 0xc0) === 0x80) end--; // not within a character
  return bytes.toString("utf8", 0, end);
}

/** A server that runs. */
async function serve(services, options) {
  const server = new Server(services, options);
  server.start();
  return server;
}

module.exports = { Server, serve };

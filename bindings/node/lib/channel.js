// channel.js - channels: the way to services, and services as objects whose methods are called.
"use strict";

const { isUint8Array } = require("node:util/types");

const abi = require("./abi");
const { UnaryCall } = require("./call");
const { BYTES_CODEC, JSON_CODEC, compressionOf, protoCodec } = require("./codec");
const engine = require("./engine");
const { Around, FilteredCall, clockOf, filtersOf, optionsInside, runFilters } = require("./filter");
const { Status, RpcError, refused } = require("./errors");
const { Metadata } = require("./metadata");
const { checkOptions, checkService, numbersOf, pathOf, tlsOf } = require("./names");
const { Stream, StreamCall } = require("./stream");

const NUMBERS = ["maxMessage", "keepalive", "keepaliveTimeout", "keepaliveAlways", "maxIdle"];

class Channel {
  #handle;
  #numbers = new Map(); // the engine's, by shape and path

  constructor(target, options) {
    checkOptions(options, [...NUMBERS, "compression", "tls", "policy", "filters"]);
    if (!["string", "undefined"].includes(typeof options.policy)) throw new TypeError("policy is a text: docs/policies.md");
    this.filters = filtersOf(options.filters);
    engine.open();
    this.target = target;
    const given = { ...numbersOf(options, NUMBERS), compression: compressionOf(options.compression) };
    this.#handle = abi.channelNew(String(target), given, tlsOf(options.tls), options.policy);
  }

  /** Drops the connections; calls that run end with CANCELLED. Harmless when repeated. */
  close() {
    if (this.#handle) abi.free(this.#handle);
    this.#handle = undefined;
  }

  /** The engine's number of a method. */
  number(path, shape) {
    if (!this.#handle) {
      throw new RpcError(Status.CANCELLED, "the channel is closed", { fate: "unsent", fault: "caller" });
    }
    const key = shape + path;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = abi.channelMethod(this.#handle, path, shape);
      if (number === 0) throw refused(`"${path}" is no method: service.method, or /service/method`);
      this.#numbers.set(key, number);
    }
    return number;
  }

  /** One answer. An iterator in place of the request is a stream of requests. */
  async call(method, request = {}, options = {}) {
    const path = pathOf(method);
    if (isIterator(request)) return collect(this, path, codecOf(options), request, options);
    return one(this, path, codecOf(options, request), request, options);
  }

  /** Many answers. An iterator in place of the request is a stream of requests. */
  stream(method, request = {}, options = {}) {
    const path = pathOf(method);
    if (isIterator(request)) return both(this, path, codecOf(options), request, options);
    return answers(this, path, codecOf(options, request), request, options);
  }

  /** A stream both ways with nothing sent yet. */
  open(method, options = {}) {
    return both(this, pathOf(method), codecOf(options), undefined, options);
  }

  /** A service: by its name, or by its description of protobuf-es. */
  service(service, options = {}) {
    return typeof service === "string" ? byName(this, service, options) : byDescription(this, service, options);
  }
}

// ---- the four shapes ----------------------------------------------------------------------------------------------

async function one(channel, path, codec, request, options) {
  if (channel.filters || options.filters) {
    const begin = (inner, own) => new UnaryCall(channel, path, abi.UNARY, codec, own).run(inner.request);
    return throughFilters(channel, path, options, { isStream: false, read: () => request }, begin);
  }
  return new UnaryCall(channel, path, abi.UNARY, codec, options).run(request);
}

const answers = (channel, path, codec, request, options) =>
  streamOf(channel, path, abi.SERVER_STREAM, codec, options, request);

const both = (channel, path, codec, messages, options) =>
  streamOf(channel, path, abi.BIDI, codec, options, undefined, messages);

const requests = (channel, path, codec, messages, options) =>
  streamOf(channel, path, abi.CLIENT_STREAM, codec, options, undefined, messages);

async function collect(channel, path, codec, messages, options) {
  if (channel.filters || options.filters) {
    return throughFilters(channel, path, options, { isStream: true }, (inner, own) => {
      const call = new StreamCall(channel, path, abi.CLIENT_STREAM | abi.HOLD, codec, own);
      call.changeRequest = (message) => inner.changeRequest_(message);
      return new Stream(call, undefined, messages).answer();
    });
  }
  return requests(channel, path, codec, messages, options).answer();
}

/** A call with one answer, by way of its filters. */
function throughFilters(channel, path, options, given, begin) {
  const call = new FilteredCall({ ...given, method: path, timeout: options.timeout, metadata: options.metadata });
  const left = clockOf(options.timeout);
  const last = (inner) => begin(inner, optionsInside(options, inner, left));
  return runFilters(filtersOf(channel.filters, options.filters), call, last, true);
}

/** request undefined: there are many, of messages or still to come. */
function streamOf(channel, path, shape, codec, options, request, messages) {
  const call = new StreamCall(channel, path, shape | abi.HOLD, codec, options);
  if (channel.filters || options.filters) beginAround(channel, call, options, request);
  return new Stream(call, request, messages);
}

function beginAround(channel, call, options, request) {
  const { timeout, metadata } = options;
  call.around = new Around(filtersOf(channel.filters, options.filters));
  const left = clockOf(timeout);
  const outer = new FilteredCall({ method: call.path, timeout, metadata, isStream: true, read: () => request });
  call.around.begin(outer, call, (inner) => {
    call.changeRequest = (message) => inner.changeRequest_(message);
    call.changeAnswer = (message) => inner.changeAnswer_(message);
    call.amend({ metadata: inner.metadata, timeout: left(inner.timeout) });
    call.begin(inner.request);
  });
}

/** Whether these are many messages. An array is one: it has a form in JSON. */
const isIterator = (value) => typeof value?.next === "function" || typeof value?.[Symbol.asyncIterator] === "function";

function codecOf(options, request) {
  if (typeof request?.$typeName === "string") {
    throw refused(`a ${request.$typeName} is sent by its service's description, as in channel.service(Greeter)`);
  }
  return options.bytes || isUint8Array(request) ? BYTES_CODEC : JSON_CODEC;
}

// ---- services as objects ------------------------------------------------------------------------------------------

/** The options of one call, after those of its service. */
function merged(common, own = {}) {
  const metadata = [...Metadata.of(common.metadata), ...Metadata.of(own.metadata)];
  const merged = { ...common, ...own, metadata: new Metadata(metadata) };
  if (common.filters && own.filters) merged.filters = filtersOf(common.filters, own.filters);
  return merged;
}

/** Each property is a method of the service. */
function byName(channel, name, common) {
  checkService(name);
  const methods = new Map();
  return new Proxy(Object.freeze({}), {
    get(target, method) {
      // Whoever awaits or prints a service asks for those.
      if (typeof method !== "string" || method === "then" || method === "toJSON") return undefined;
      if (!methods.has(method)) methods.set(method, methodOf(channel, `/${name}/${method}`, common));
      return methods.get(method);
    },
  });
}

function methodOf(channel, path, common) {
  const method = (request, options) => channel.call(path, request, merged(common, options));
  method.stream = (request, options) => channel.stream(path, request, merged(common, options));
  method.open = (options) => channel.open(path, merged(common, options));
  return method;
}

/** Each method that the description has, by its name in JavaScript. */
function byDescription(channel, description, common) {
  if (description?.kind !== "service") {
    throw new TypeError("a service is named, or described as protobuf-es does");
  }
  const client = {};
  for (const method of description.methods) {
    const path = `/${description.typeName}/${method.name}`;
    const codec = protoCodec(method);
    const bound = (shape) => (first, options) => shape(channel, path, codec, first, merged(common, options));
    client[method.localName] = {
      unary: (request = {}, options) => bound(one)(request, options),
      server_streaming: (request = {}, options) => bound(answers)(request, options),
      client_streaming: Object.assign(bound(collect), { open: (options) => bound(requests)(undefined, options) }),
      bidi_streaming: bound(both),
    }[method.methodKind];
  }
  return client;
}

// ---- the common channel -------------------------------------------------------------------------------------------

/**
 * A channel to nebula://name (one service), to nebula: (each call names its service), or to an address:
 * tcp://host:port, tls://host:port, unix:/path, mem:name. It connects when a call needs it.
 */
const connect = (target = "nebula:", options = {}) => new Channel(target, options);

let common;

/** A service of whoever announces it. */
const service = (description, options) => (common ??= connect()).service(description, options);

/** Filters around all calls of service(), inside of those that there are. */
function use(...filters) {
  common ??= connect();
  common.filters = filtersOf(common.filters, filters);
}

module.exports = { Channel, connect, service, use };

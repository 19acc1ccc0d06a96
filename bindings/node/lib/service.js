// service.js - services as they are served: a name, and a handler for each method.
"use strict";

const abi = require("./abi");
const { BYTES_CODEC, JSON_CODEC, Malformed, decode, encode, protoCodec, protoJsonCodec } = require("./codec");
const { Status, RpcError } = require("./errors");
const { filtersOf } = require("./filter");
const { Metadata } = require("./metadata");
const { about, checkOptions, checkService, labelOf } = require("./names");

/** A handler with its shape, and what its messages are. */
class Marked {
  constructor(shape, first, second) {
    const [options, handler] = typeof first === "function" ? [second ?? {}, first] : [first, second];
    if (typeof handler !== "function") throw new TypeError("a handler is a function");
    checkOptions(options, ["request", "schema", "bytes"]);
    Object.assign(this, { shape, handler, options });
  }
}

const unary = (...given) => new Marked(abi.UNARY, ...given);
const serverStream = (...given) => new Marked(abi.SERVER_STREAM, ...given);
const clientStream = (...given) => new Marked(abi.CLIENT_STREAM, ...given);
const bidi = (...given) => new Marked(abi.BIDI, ...given);

/** What a handler gave has no form, which is no answer of its but a mistake. */
class BadReply extends RpcError {}

/** One method that is served. */
class Method {
  constructor(path, shape, handler, codecs, options = {}) {
    this.path = path;
    this.name = path.slice(path.lastIndexOf("/") + 1);
    this.schemas = options.schema; // JSON Schema of its messages, for callers
    this.label = labelOf(path);
    this.shape = shape;
    this.handler = handler;
    this.codecs = codecs; // the method's own, and the one of callers who send JSON
    this.schema = options.request?.["~standard"]; // standardschema.dev
    this.takesStream = shape === abi.CLIENT_STREAM || shape === abi.BIDI;
    this.givesStream = shape === abi.SERVER_STREAM || shape === abi.BIDI;
  }

  /** The codec of a call. Throws if it is none of the method's. Its own is that of `application/grpc` alone. */
  codecOf(event) {
    const { own, json } = this.codecs;
    if (own === BYTES_CODEC) return own;
    if (event.flags & abi.JSON) return json;
    const name = event.flags & abi.PROTO ? "proto" : unusual(event.metadata);
    if (name === undefined || (name === "proto" && own.flag === abi.PROTO)) return own;
    const accepted = own === json ? "" : "application/grpc+proto and ";
    throw new RpcError(
      Status.UNIMPLEMENTED, `${this.label} accepts ${accepted}application/grpc+json, not application/grpc+${name}`);
  }

  /** A request, decoded and checked; a promise of it where the schema takes its time. */
  read(codec, data) {
    try {
      const value = decode(codec.request, data);
      if (!this.schema) return value;
      const checked = this.schema.validate(value);
      return isPromise(checked) ? checked.then((result) => this.#accepted(result)) : this.#accepted(checked);
    } catch (error) {
      if (error instanceof Malformed) throw this.#badRequest(error.message);
      throw error;
    }
  }

  #accepted(result) {
    if (!result.issues) return result.value;
    const { message, path = [] } = result.issues[0];
    const field = path.map((key) => (typeof key === "object" ? key.key : key)).join(".");
    throw this.#badRequest(field ? `field "${field}": ${message}` : message);
  }

  #badRequest(why) {
    return new RpcError(Status.INVALID_ARGUMENT, about(this.label, why));
  }

  write(codec, value) {
    try {
      return encode(codec.reply, value);
    } catch (error) {
      const message = `${this.label}: the result cannot be encoded: ${error.message}`;
      throw new BadReply(Status.INTERNAL, message, { cause: error });
    }
  }
}

const isPromise = (value) => typeof value?.then === "function";

/** The name of an unusual codec, which travels as a field of the metadata. */
function unusual(block) {
  if (!block?.includes("content-type")) return undefined;
  return /^application\/grpc\+([^;]*)/.exec(Metadata.unpack(block).get("content-type"))?.[1];
}

/** A service to be served: under a name, with plain values as messages; or as protobuf-es describes it. */
class Service {
  constructor(service, handlers, options = {}) {
    checkOptions(options, ["filters"]);
    this.filters = filtersOf(options.filters);
    const isNamed = typeof service === "string";
    this.name = isNamed ? checkService(service) : service.typeName;
    this.methods = isNamed ? named(this.name, handlers) : described(service, handlers);
    this.description = isNamed ? undefined : service;
    if (this.methods.length === 0) throw new TypeError(`${this.name}: there is no method to serve`);
  }
}

function named(service, handlers) {
  return Object.entries(handlers).map(([name, given]) => {
    const { shape, handler, options } = given instanceof Marked ? given : new Marked(shapeOf(given), given);
    const codec = options.bytes ? BYTES_CODEC : JSON_CODEC;
    const codecs = { own: codec, json: codec };
    return new Method(`/${service}/${name}`, shape, handler.bind(handlers), codecs, options);
  });
}

/** A generator answers with a stream. */
function shapeOf(handler) {
  const isGenerator = /^(Async)?GeneratorFunction$/.test(handler?.constructor?.name);
  return isGenerator ? abi.SERVER_STREAM : abi.UNARY;
}

const SHAPES = {
  unary: abi.UNARY, client_streaming: abi.CLIENT_STREAM, server_streaming: abi.SERVER_STREAM, bidi_streaming: abi.BIDI,
};

/** Methods of the description that have no handler are answered with UNIMPLEMENTED. */
function described(description, handlers) {
  if (description?.kind !== "service") throw new TypeError("a service is named, or described as protobuf-es does");
  const known = description.methods.map((method) => method.localName);
  for (const name of Object.keys(handlers)) {
    if (!known.includes(name)) {
      throw new TypeError(`${description.typeName} has no method ${name} (methods: ${known.join(", ")})`);
    }
  }
  return description.methods.filter((method) => handlers[method.localName]).map((method) => {
    const path = `/${description.typeName}/${method.name}`;
    const handler = handlers[method.localName].bind(handlers);
    const codecs = { own: protoCodec(method), json: protoJsonCodec(method) };
    return new Method(path, SHAPES[method.methodKind], handler, codecs);
  });
}

module.exports = { BadReply, Service, isPromise, bidi, clientStream, serverStream, unary };

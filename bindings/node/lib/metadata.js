// metadata.js - the ordered names and values that travel beside a message.
"use strict";

const os = require("node:os");
const { isUint8Array } = require("node:util/types");

// All that begins with grpc- is gRPC's own, but for what a handler says of another try (gRFC A6).
const NAME = /^(?!grpc-(?!retry-pushback-ms$)|nebula-retries-left$)[0-9a-z_.-]+$/;
const TEXT = /^[ -~]*$/;
// In the byte order of the machine, as the ABI has it.
const ENDING = os.endianness();
const write = Buffer.prototype[`writeUInt32${ENDING}`];
const read = Buffer.prototype[`readUInt32${ENDING}`];

/** Pairs of name and value, in order; a name may come more than once. Values of names in -bin are bytes. */
class Metadata {
  #pairs;

  constructor(pairs = []) {
    this.#pairs = pairs;
  }

  /** Of an object, whose values may be arrays of values, or of pairs: a Map, an array, Metadata. */
  static of(given) {
    if (given instanceof Metadata) return given;
    if (given === undefined || given === null) return new Metadata();
    if (typeof given[Symbol.iterator] === "function") return new Metadata([...given]);
    const pairs = [];
    for (const [name, value] of Object.entries(given)) {
      for (const each of Array.isArray(value) ? value : [value]) pairs.push([name, each]);
    }
    return new Metadata(pairs);
  }

  /** The first value of that name. */
  get(name) {
    return this.#pairs.find((pair) => pair[0] === name)?.[1];
  }

  /** All values of that name. */
  getAll(name) {
    return this.#pairs.filter((pair) => pair[0] === name).map((pair) => pair[1]);
  }

  get size() {
    return this.#pairs.length;
  }

  [Symbol.iterator]() {
    return this.#pairs[Symbol.iterator]();
  }

  [Symbol.for("nodejs.util.inspect.custom")](depth, options, inspect) {
    return `Metadata ${inspect(this.#pairs, options)}`;
  }

  /** The engine's block of { u32 name size, u32 value size, name, value }; undefined if there is nothing. */
  pack() {
    if (this.size === 0) return undefined;
    const parts = [];
    for (const [name, value] of this.#pairs) {
      const raw = bytesOf(name, value);
      const head = Buffer.alloc(8 + name.length);
      write.call(head, name.length, 0);
      write.call(head, raw.length, 4);
      head.write(name, 8, "latin1");
      parts.push(head, raw);
    }
    return Buffer.concat(parts);
  }

  static unpack(block) {
    const pairs = [];
    for (let at = 0; block && at < block.length; ) {
      const middle = at + 8 + read.call(block, at);
      const end = middle + read.call(block, at + 4);
      const name = block.toString("latin1", at + 8, middle);
      pairs.push([name, name.endsWith("-bin") ? block.subarray(middle, end) : block.toString("latin1", middle, end)]);
      at = end;
    }
    return new Metadata(pairs);
  }
}

function bytesOf(name, value) {
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new TypeError(`metadata name ${JSON.stringify(name)}: only [0-9a-z_.-], and none of gRPC's or the engine's own`);
  }
  if (name.endsWith("-bin")) {
    if (!isUint8Array(value)) throw new TypeError(`metadata "${name}": the value must be a Uint8Array`);
    return value;
  }
  if (typeof value !== "string") throw new TypeError(`metadata "${name}": the value must be a string`);
  if (!TEXT.test(value)) {
    throw new TypeError(`metadata "${name}": only printable ASCII; use a name that ends in -bin for the rest`);
  }
  return Buffer.from(value, "latin1");
}

module.exports = { Metadata };

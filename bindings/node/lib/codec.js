// codec.js - messages as bytes: JSON for plain values, protobuf for services of protobuf, bytes as they are.
//
// A form writes and reads messages of one kind; what it writes is a string or a Uint8Array. A codec is the forms of
// requests and answers, and the engine's flag for them. protobuf is not loaded before a service of it is used.
"use strict";

const { isUtf8 } = require("node:buffer");
const { isUint8Array } = require("node:util/types"); // of whatever context, as tests run in one of their own

const abi = require("./abi");

/** Bytes that are not what they should be. The message says why. */
class Malformed extends Error {}

const BYTES_MAX = 0xffffffff;

/** A message as the engine takes it. Throws what is to be said of a value that has no form. */
function encode(form, value) {
  const data = form.encode(value);
  if (data.length > BYTES_MAX) throw new TypeError("a message has 4 GiB at most");
  return data;
}

function decode(form, data) {
  try {
    return form.decode(data);
  } catch (error) {
    throw new Malformed(error.message);
  }
}

function textOf(data) {
  if (!isUtf8(data)) throw new Error("it is not UTF-8");
  return data.toString();
}

const json = {
  encode(value) {
    const text = JSON.stringify(value === undefined ? null : value);
    if (text === undefined) throw new TypeError(`a ${typeof value} has no form in JSON`);
    return text;
  },
  decode(data) {
    try {
      return JSON.parse(textOf(data));
    } catch (error) {
      throw new Error(`malformed JSON: ${error.message}`);
    }
  },
};

const bytes = {
  encode(value) {
    if (isUint8Array(value)) return value;
    throw new TypeError(`a Uint8Array is needed, not a ${typeof value}`);
  },
  decode: (data) => data,
};

let loaded;

/** protobuf-es, when it is needed. Kept, for `require` looks for files each time if others had loaded it before. */
const protobuf = () => (loaded ??= require("@bufbuild/protobuf"));

/** A message of a plain object. protobuf-es ignores what it does not know; a slip must not go unnoticed. */
function messageOf(schema, value) {
  checkFields(schema, value);
  return protobuf().create(schema, value);
}

const members = new WeakMap(); // by schema, and then by name

function membersOf(schema) {
  if (!members.has(schema)) members.set(schema, new Map(schema.members.map((member) => [member.localName, member])));
  return members.get(schema);
}

function checkFields(schema, value) {
  if (value.$typeName !== undefined) return; // it was made by create()
  const known = membersOf(schema);
  for (const name of Object.keys(value)) {
    const field = known.get(name);
    const given = value[name];
    if (!field) {
      const fields = schema.members.map((member) => member.localName).join(", ");
      throw new TypeError(`has no field "${name}" (fields: ${fields})`);
    }
    // Google's own types have forms of their own: a Struct is any object.
    if (!field.message || field.message.typeName.startsWith("google.protobuf.") || !given) continue;
    for (const each of field.fieldKind === "message" ? [given] : Object.values(given)) checkFields(field.message, each);
  }
}

function binaryOf(schema) {
  const { fromBinary, toBinary } = protobuf();
  return {
    encode: (value) => toBinary(schema, messageOf(schema, value)),
    decode: (data) => fromBinary(schema, data),
  };
}

/** proto3's mapping to JSON. */
function mappedOf(schema) {
  const { fromJsonString, toJsonString } = protobuf();
  return {
    encode: (value) => toJsonString(schema, messageOf(schema, value)),
    decode: (data) => fromJsonString(schema, textOf(data)),
  };
}

const JSON_CODEC = { flag: abi.JSON, request: json, reply: json };
/** Bytes may be of any codec, so nothing is said of them. */
const BYTES_CODEC = { flag: 0, request: bytes, reply: bytes };

/** Of a method as protobuf-es describes it. */
const protoCodec = ({ input, output }) => ({ flag: abi.PROTO, request: binaryOf(input), reply: binaryOf(output) });
const protoJsonCodec = ({ input, output }) => ({ flag: abi.JSON, request: mappedOf(input), reply: mappedOf(output) });

const COMPRESSIONS = { gzip: abi.GZIP, zstd: abi.ZSTD };

/** The engine's flag of a compression. Throws TypeError for one that it does not know. */
function compressionOf(name) {
  if (name === undefined) return 0;
  if (name in COMPRESSIONS) return COMPRESSIONS[name];
  throw new TypeError(`compression is "gzip" or "zstd", not ${JSON.stringify(name)}`);
}

module.exports = {
  BYTES_CODEC, JSON_CODEC, Malformed, compressionOf, decode, encode, protoCodec, protoJsonCodec, protobuf,
};

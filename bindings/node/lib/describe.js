// describe.js - what a server's services look like: descriptors of protobuf for grpc.reflection, documents for callers.
"use strict";

const abi = require("./abi");
const { protobuf } = require("./codec");

/** The files of these services with all that they import, as a google.protobuf.FileDescriptorSet; undefined if none. */
function descriptorSet(services) {
  const files = new Map();
  const add = (file) => {
    if (files.has(file.name)) return;
    files.set(file.name, file.proto);
    file.dependencies.forEach(add);
  };
  for (const { description } of services) if (description) add(description.file);
  if (files.size === 0) return undefined;
  const { create, toBinary } = protobuf();
  const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [...files.values()] }));
}

const SHAPES = {
  [abi.UNARY]: "unary", [abi.CLIENT_STREAM]: "client_stream", [abi.SERVER_STREAM]: "server_stream", [abi.BIDI]: "bidi",
};

/** What is known of a service of plain values, as JSON; undefined of one of protobuf, which its descriptors tell. */
function documentOf({ name, methods, description }) {
  if (description) return undefined;
  return JSON.stringify({
    service: name,
    methods: methods.map((method) => ({
      name: method.name, shape: SHAPES[method.shape], request: method.schemas?.request, response: method.schemas?.response,
    })),
  });
}

module.exports = { descriptorSet, documentOf };

// describe.js - what a server's protobuf services look like, for grpc.reflection.
"use strict";

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

module.exports = { descriptorSet };

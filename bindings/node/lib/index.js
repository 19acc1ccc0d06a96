// index.js - Nebula for Node: services that call each other by name, with nothing configured.
"use strict";

const { connect, service, use } = require("./channel");
const { currentCall, detached } = require("./context");
const { RpcError, Status } = require("./errors");
const { Metadata } = require("./metadata");
const { metrics } = require("./metrics");
const { run } = require("./run");
const { serve } = require("./server");
const { Service, bidi, clientStream, serverStream, unary } = require("./service");

module.exports = {
  Metadata, RpcError, Service, Status, bidi, clientStream, connect, currentCall, detached, metrics, run, serve,
  serverStream, service, unary, use,
};

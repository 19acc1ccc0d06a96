// errors.js - how a call ends when it does not end well.
"use strict";

const { Metadata } = require("./metadata");

/** gRPC's status codes, by name; Status[5] is "NOT_FOUND". */
const Status = {};
for (const [code, name] of [
  "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
  "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
].entries()) {
  Status[name] = code;
  Status[code] = name;
}
Object.freeze(Status);

const FATES = ["unsent", "unprocessed", "unknown", "processed"];
const FAULTS = ["none", "caller", "network", "callee", "overload"];

/** A failed call: what a call rejects with, and what a handler throws for its caller to see. */
class RpcError extends Error {
  constructor(code, message = "", options = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    if (!Number.isInteger(code) || code < 1 || code > 16) {
      throw new TypeError(`an error has a code of 1 to 16, not ${code}`);
    }
    this.code = code;
    this.trailers = Metadata.of(options.trailers);
    this.fate = options.fate;
    this.fault = options.fault;
  }

  toString() {
    return this.message ? `${Status[this.code]}: ${this.message}` : Status[this.code];
  }
}
// As a class has it: for the stack to begin with, and not a field of each error.
Object.defineProperty(RpcError.prototype, "name", { value: "RpcError", configurable: true, writable: true });

/** The error of a call that a FINISHED event has ended; undefined if it ended well. */
function failureOf(event) {
  if (event.status === 0) return undefined;
  return new RpcError(event.status, event.data ? event.data.toString() : "", {
    trailers: Metadata.unpack(event.metadata),
    fate: FATES[event.value & 255],
    fault: FAULTS[(event.value >> 8) & 255],
  });
}

/** The error of a call that cannot be made. */
const refused = (message, cause) =>
  new RpcError(Status.INVALID_ARGUMENT, message, { fate: "unsent", fault: "caller", cause });

/** The error of a call whose answer cannot be read. */
const malformed = (label, why) =>
  new RpcError(Status.INTERNAL, `${label}: malformed answer: ${why}`, { fate: "processed", fault: "callee" });

module.exports = { FATES, FAULTS, Status, RpcError, failureOf, refused, malformed };

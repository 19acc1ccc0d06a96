// context.js - a call as its handler has it, and what the calls made for it inherit.
"use strict";

const { AsyncLocalStorage } = require("node:async_hooks");
const { performance } = require("node:perf_hooks");

const abi = require("./abi");
const { Status, RpcError } = require("./errors");
const { Metadata } = require("./metadata");

/** The call that is being handled, in all that its handler begins. */
const current = new AsyncLocalStorage();

/** What a handler may know and do about its call besides its request. Names that end in _ are the server's. */
class Context {
  #label;
  #call;
  #block;
  #ends; // on the clock of performance.now(); undefined: never
  #abort;
  #died;
  #headersSent = false;
  #metadata; // what filters have made of it
  #nested; // calls made for this one

  constructor(method, event, flow) {
    this.#label = method.label;
    this.#call = event.call;
    this.#block = event.metadata;
    this.#ends = event.value ? performance.now() + event.value / 1000 : undefined;
    /** The path of the method: "/hello/greet". */
    this.method = method.path;
    /** Whether the answers from here on are compressed, where the server has a compression. */
    this.compress = true;
    this.flow_ = flow;
    this.trailers_ = undefined; // packed
  }

  /** What the caller sent beside the request. */
  get metadata() {
    return this.#metadata ?? Metadata.unpack(this.#block);
  }

  /** Who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" once the call is over. */
  get peer() {
    return abi.callPeer(this.#call);
  }

  /** Milliseconds until the deadline, never negative; undefined: there is none. */
  get timeRemaining() {
    return this.#ends === undefined ? undefined : Math.max(0, this.#ends - performance.now());
  }

  /** Whether nobody waits for the answer any more. */
  get cancelled() {
    return this.#died !== undefined;
  }

  /** Aborts when nobody waits for the answer any more; its reason is an RpcError that says why. */
  get signal() {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#died) this.#abort.abort(this.#died);
    }
    return this.#abort.signal;
  }

  /** Sends metadata ahead of the answer: at most once, and before the first one. */
  sendHeaders(metadata) {
    const block = Metadata.of(metadata).pack();
    if (this.#headersSent) throw new Error("the headers were sent already");
    this.#headersSent = true;
    const result = abi.callHeaders(this.#call, block);
    if (result < 0 && result !== abi.E_STALE) throw new Error(abi.strerror(result));
  }

  /** Metadata to go after the answer, or the last of them, or with an error that has none. The last one set counts. */
  setTrailers(metadata) {
    this.trailers_ = Metadata.of(metadata).pack();
  }

  trailing_() {
    return Metadata.unpack(this.trailers_);
  }

  /** Filters have changed what the caller sent. */
  amend_(metadata) {
    this.#metadata = metadata;
  }

  /** For calls made for this one, which share its retries. */
  get call_() {
    return this.#call;
  }

  /** A call made for this one ends with it. */
  adopt_(call) {
    this.#nested ??= new Set();
    this.#nested.add(call);
  }

  disown_(call) {
    this.#nested.delete(call);
  }

  /** Nobody waits for the answer any more. */
  die_(code) {
    if (this.#died) return;
    this.#died = new RpcError(code, `${this.#label}: the caller waits no more`);
    this.flow_.end();
    for (const call of this.#nested ?? []) call.cancel(code);
    this.#abort?.abort(this.#died);
  }

  /** Throws if nobody waits any more. */
  check_() {
    if (this.#died) throw this.#died;
  }
}

/** Runs a function whose calls inherit nothing from the call that is being handled: for what is to outlive it. */
const detached = (work) => current.run(undefined, work);

/** The call that is being handled; undefined outside of handlers. */
const currentCall = () => current.getStore();

/** The engine's timeout, in which 0 is none: so many milliseconds, but no more than the call being handled has left. */
function microseconds(timeout, parent) {
  if (timeout !== undefined && !(timeout >= 0)) throw new TypeError(`timeout is milliseconds, not ${timeout}`);
  const left = Math.min(timeout ?? Infinity, parent?.timeRemaining ?? Infinity);
  // A century is long enough. One that has passed already is the shortest.
  return left === Infinity ? 0 : Math.max(1, Math.floor(Math.min(left, 3.2e12) * 1000));
}

/** The code that an abort signal's reason has on the wire. */
function codeOf(reason) {
  if (reason instanceof RpcError) return reason.code;
  return reason?.name === "TimeoutError" ? Status.DEADLINE_EXCEEDED : Status.CANCELLED;
}

module.exports = { Context, codeOf, current, currentCall, detached, microseconds };

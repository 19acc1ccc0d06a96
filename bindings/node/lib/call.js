// call.js - one call of ours, from its arguments to its end. Streams are in stream.js.
"use strict";

const abi = require("./abi");
const codec = require("./codec");
const { codeOf, current, microseconds } = require("./context");
const engine = require("./engine");
const { Status, RpcError, failureOf, malformed, refused } = require("./errors");
const { Metadata } = require("./metadata");
const { about, checkOptions, labelOf } = require("./names");

const OPTIONS = [
  "timeout", "signal", "metadata", "waitForReady", "idempotent", "compression", "bytes", "onHeaders", "onTrailers",
  "filters",
];

class Call {
  #options;
  #tag = engine.newTag();
  #parent = current.getStore();
  #onAbort;

  constructor(channel, path, shape, form, options) {
    checkOptions(options, OPTIONS);
    this.channel = channel; // collected, it would end the call
    this.path = path;
    this.shape = shape;
    this.codec = form;
    this.#options = options;
  }

  /** Changes its options before it begins. */
  amend(options) {
    this.#options = { ...this.#options, ...options };
  }

  get label() {
    return labelOf(this.path);
  }

  /** Begins. Throws an RpcError if that cannot be. data undefined: no message yet. */
  start(data, flags) {
    const { compression, idempotent, metadata, onHeaders, signal, timeout, waitForReady } = this.#options;
    this.#checkAlive(signal);
    const [block, timeoutUs, chosen] = this.attempt(() => [
      Metadata.of(metadata).pack(), microseconds(timeout, this.#parent), codec.compressionOf(compression),
    ]);
    const number = this.channel.number(this.path, this.shape);
    flags |= this.codec.flag | abi.COMPRESS | chosen;
    // By its service's description, for there is none of protobuf-es that has checked it.
    if (this.codec === codec.JSON_CODEC) flags |= abi.CHECK;
    if (onHeaders) flags |= abi.WANT_HEADERS;
    if (waitForReady) flags |= abi.WAIT_FOR_READY;
    if (idempotent) flags |= abi.IDEMPOTENT;
    this.call = abi.callStart(number, this.#tag, timeoutUs, block, data, flags, this.#parent?.call_ ?? 0);
    if (this.call === 0) throw refused(`${this.label}: the engine did not take the call`);
    engine.know(this.#tag, this);
    engine.hold();
    this.#parent?.adopt_(this);
    if (signal) {
      this.#onAbort = () => this.cancel(codeOf(signal.reason));
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
  }

  #checkAlive(signal) {
    if (signal?.aborted) {
      throw new RpcError(codeOf(signal.reason), `${this.label}: aborted before it began`, {
        fate: "unsent", fault: "caller", cause: signal.reason,
      });
    }
    this.#parent?.check_();
  }

  /** What work returns; what it throws is the caller's mistake. */
  attempt(work) {
    try {
      return work();
    } catch (error) {
      throw refused(about(this.label, error.message), error);
    }
  }

  encode(message) {
    return this.attempt(() => codec.encode(this.codec.request, message));
  }

  decode(data) {
    try {
      return codec.decode(this.codec.reply, data);
    } catch (error) {
      throw malformed(this.label, error.message);
    }
  }

  cancel(code = Status.CANCELLED) {
    abi.callCancel(this.call, code);
  }

  receive(event) {
    if (event.kind === abi.EV_HEADERS) {
      this.headers = Metadata.unpack(event.metadata);
      this.#options.onHeaders?.(this.headers);
    } else if (event.kind === abi.EV_FINISHED) {
      engine.forget(this.#tag);
      engine.release();
      this.#parent?.disown_(this);
      if (this.#onAbort) this.#options.signal.removeEventListener("abort", this.#onAbort);
      this.trailers = Metadata.unpack(event.metadata);
      this.onEnd(event);
      this.#options.onTrailers?.(this.trailers);
    }
  }
}

// How the engine begins its word on a unary call whose peer answered otherwise.
const NOT_ONE_ANSWER = "this method answers with one message";

class UnaryCall extends Call {
  run(request) {
    return new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
      this.start(this.encode(request), abi.END);
    });
  }

  onEnd(event) {
    try {
      const failure = failureOf(event);
      if (failure?.code === Status.UNIMPLEMENTED && failure.message.startsWith(NOT_ONE_ANSWER)) {
        failure.message = `${this.label} answers with a stream: iterate over ${this.label}.stream(...)`;
      }
      if (failure) throw failure;
      if (event.data === null) throw malformed(this.label, "there is no message");
      this.resolve(this.decode(event.data));
    } catch (error) {
      this.reject(error);
    }
  }
}

module.exports = { Call, UnaryCall };

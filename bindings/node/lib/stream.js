// stream.js - calls with streams of messages, seen from the caller.
"use strict";

const { isPromise } = require("node:util/types");

const abi = require("./abi");
const { Call } = require("./call");
const { failureOf, malformed } = require("./errors");
const { Flow } = require("./flow");
const { Metadata } = require("./metadata");

/** The call itself. Its user has a Stream that it does not refer to, so that one that nobody uses any more ends. */
class StreamCall extends Call {
  flow = new Flow(0);
  finished = false;
  failure; // what the call ended with, or the iterator of requests
  around; // its filters; undefined: there are none
  changeRequest; // what they do to messages
  changeAnswer;
  #source; // the iterator of requests

  begin(request) {
    const data = request === undefined ? undefined : super.encode(request);
    this.start(data, data === undefined ? abi.WANT_HEADERS : abi.WANT_HEADERS | abi.END);
    this.flow.call = this.call;
  }

  receive(event) {
    super.receive(event);
    if (event.kind === abi.EV_HEADERS) this.flow.ring();
    else if (event.kind !== abi.EV_FINISHED) this.flow.on(event);
  }

  onEnd(event) {
    this.finished = true;
    this.failure ??= failureOf(event);
    // The single answer to a stream of requests.
    if (event.status === 0 && event.data) this.flow.inbox.push(event.data);
    this.flow.end();
    dropped.unregister(this);
    Promise.resolve().then(() => this.#source?.return?.()).catch(() => {}); // it is of no interest any more
  }

  encode(message) {
    return super.encode(this.changeRequest ? this.changeRequest(message) : message);
  }

  decode(data) {
    const message = super.decode(data);
    return this.changeAnswer ? this.changeAnswer(message) : message;
  }

  cancel(code) {
    this.around?.leave();
    if (this.call) super.cancel(code);
  }

  /** It never begins: its filters have ended it. */
  finish() {
    this.finished = true;
    this.flow.end();
    dropped.unregister(this);
  }

  /** Throws what it has failed with, or what its filters have made of that. */
  async checkEnd() {
    if (this.around) await this.around.end();
    else if (this.failure) throw this.failure;
  }

  /** Sends what an iterator brings. What that throws is what the call fails with. */
  async feed(messages) {
    this.#source = messages[Symbol.asyncIterator]?.() ?? messages[Symbol.iterator]?.() ?? messages;
    try {
      for (;;) {
        const { done, value } = await this.#source.next();
        if (done) break;
        const sent = this.flow.send(this.encode(value), abi.COMPRESS);
        if (sent !== true && !(await sent)) return;
      }
      if (!this.finished) this.flow.submit(undefined, abi.END);
    } catch (error) {
      this.failure ??= error;
      this.cancel();
    }
  }

  /** The next answer, or a promise of it; undefined: there are no more. */
  next() {
    const data = this.flow.receive();
    return isPromise(data) ? data.then((come) => this.#open(come)) : this.#open(data);
  }

  #open(data) {
    if (data === null) return this.checkEnd();
    try {
      return this.decode(data);
    } catch (error) {
      this.cancel();
      throw error;
    }
  }
}

const dropped = new FinalizationRegistry((call) => call.cancel());

/** A stream, for its caller: iterate over the answers, or send and receive. */
class Stream {
  #call;

  /** With filters the call has been begun by those. */
  constructor(call, request, messages) {
    this.#call = call;
    if (!call.around) call.begin(request);
    dropped.register(this, call, call);
    if (!messages) return;
    if (call.around) call.around.opened.then(() => call.finished || call.feed(messages));
    else call.feed(messages);
  }

  /** The next answer; undefined: there are no more. Rejects with an RpcError if the call failed. */
  async receive() {
    return this.#call.next();
  }

  /** Sends a message, and waits while the server does not read. False: the server has ended the call, and well. */
  async send(message) {
    const call = this.#call;
    if (call.around) await call.around.opened;
    if (await call.flow.send(call.encode(message), abi.COMPRESS)) return true;
    await call.checkEnd();
    return false;
  }

  /** Tells the server that no more messages come. Answers still may. */
  end() {
    const { around, flow } = this.#call;
    if (around) around.opened.then(() => flow.submit(undefined, abi.END)).catch(() => {});
    else flow.submit(undefined, abi.END);
  }

  /** Ends the call, at the server too. Harmless when it has ended. */
  cancel() {
    this.#call.cancel();
  }

  /** The metadata that comes before the first answer. Rejects if it never does. */
  async headers() {
    const call = this.#call;
    await call.flow.until(() => call.headers || call.finished);
    if (!call.headers) await call.checkEnd();
    return call.headers ?? new Metadata();
  }

  /** The metadata that came after the last answer; undefined until the stream has ended. */
  get trailers() {
    return this.#call.trailers;
  }

  /** The single answer to a stream of requests. */
  async answer() {
    const answer = await this.receive();
    if (answer === undefined) throw malformed(this.#call.label, "there is no message");
    return answer;
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  async next() {
    let value = this.#call.next();
    if (isPromise(value)) value = await value;
    return { done: value === undefined, value };
  }

  /** Leaving a loop ends the call. */
  async return(value) {
    this.cancel();
    return { done: true, value };
  }
}

module.exports = { Stream, StreamCall };

// filter.js - filters: functions around calls, the same for clients and servers, for one message and for streams.
"use strict";

const { performance } = require("node:perf_hooks");

const { Status, RpcError } = require("./errors");
const { Metadata } = require("./metadata");
const { labelOf } = require("./names");

/** A call as one filter sees it. What it changes is seen inside of it; names that end in _ are the binding's. */
class FilteredCall {
  #metadata;
  #read; // gives the request
  #request;
  #requests = [];
  #answers = [];
  #outer;

  constructor(given, outer) {
    /** The path of the method: "/hello/greet". */
    this.method = given.method;
    /** Milliseconds; undefined: for ever. */
    this.timeout = given.timeout;
    /** Whether there are many messages, in either direction. */
    this.isStream = given.isStream;
    /** What the handler has, on a server. */
    this.context = given.context;
    this.#metadata = Metadata.of(given.metadata);
    this.#read = given.read;
    this.#outer = outer;
    this.end_ = given.end_ ?? { headers: new Metadata(), trailers: new Metadata() };
  }

  get metadata() {
    return this.#metadata;
  }

  set metadata(given) {
    this.#metadata = Metadata.of(given);
  }

  /** One more pair, after those that there are. */
  addMetadata(name, value) {
    this.#metadata = new Metadata([...this.#metadata, [name, value]]);
  }

  /** The single request; undefined of a stream. Throws if it is malformed. */
  get request() {
    if (this.#read) {
      this.#request = this.#read(); // which may throw
      this.#read = undefined;
    }
    return this.#request;
  }

  set request(message) {
    this.#request = message;
    this.#read = undefined;
  }

  /** change(message) is called for each request, and what it returns goes on in its place. */
  onRequest(change) {
    this.#requests.push(change);
  }

  /** The same for each answer. */
  onAnswer(change) {
    this.#answers.push(change);
  }

  get peer() {
    return this.context?.peer ?? "";
  }

  get headers() {
    return this.end_.headers;
  }

  get trailers() {
    return this.context ? this.context.trailing_() : this.end_.trailers;
  }

  /** The same for who is inside: what is changed there does not come back. */
  inside_() {
    const { method, timeout, isStream, context, metadata, end_ } = this;
    const read = () => (this.request === undefined ? undefined : through(this.#requests, this.request));
    return new FilteredCall({ method, timeout, isStream, context, metadata, end_, read }, this);
  }

  /** What a message of a stream of requests goes through: the outermost filter first. */
  changeRequest_(message) {
    return through(this.#requests, this.#outer ? this.#outer.changeRequest_(message) : message);
  }

  /** The same of answers: the innermost filter first. */
  changeAnswer_(message) {
    const changed = this.changeSingle_(message);
    return this.#outer ? this.#outer.changeAnswer_(changed) : changed;
  }

  changeSingle_(answer) {
    return through(this.#answers, answer);
  }
}

const through = (changes, message) => changes.reduce((changed, change) => change(changed), message);

/** Runs the filters around `last`, and resolves with the single answer, if there is one. */
function runFilters(filters, call, last, hasAnswer) {
  const inside = (at, outer) => {
    let isCalled = false;
    return async () => {
      if (isCalled && outer.isStream) throw new Error(`${labelOf(outer.method)}: next() is called once for a stream`);
      isCalled = true;
      const inner = outer.inside_();
      const answer = await (at === filters.length ? last(inner) : filters[at](inner, inside(at + 1, inner)));
      return hasAnswer ? outer.changeSingle_(answer) : undefined;
    };
  };
  return inside(0, call)();
}

/** Filters that a user gave; undefined: there are none. */
function filtersOf(...given) {
  const filters = given.flatMap((each) => each ?? []);
  for (const filter of filters) {
    if (typeof filter !== "function") throw new TypeError(`a filter is a function of the call and next, not ${filter}`);
  }
  return filters.length ? filters : undefined;
}

/** The options of a call for what is inside of its filters. left: of clockOf. */
function optionsInside(options, inner, left) {
  const { end_ } = inner;
  return {
    ...options,
    metadata: inner.metadata,
    timeout: left(inner.timeout),
    onHeaders(headers) {
      end_.headers = headers;
      options.onHeaders?.(headers);
    },
    onTrailers(trailers) {
      end_.trailers = trailers;
      options.onTrailers?.(trailers);
    },
  };
}

/** What is left of a call's time for what is inside of its filters, whatever they have made of it. */
function clockOf(timeout) {
  const ends = performance.now() + (timeout ?? Infinity);
  return (wanted) => {
    const left = Math.min(wanted ?? Infinity, Math.max(0, ends - performance.now()));
    return left === Infinity ? undefined : left;
  };
}

/** The filters of a stream, which run while its user has it in hand. It does not refer to the user's Stream. */
class Around {
  #filters;
  #take; // the user takes no more, for which next() waits
  #taken = new Promise((resolve) => (this.#take = resolve));
  #open;
  #isOpen = false;
  #isLeft = false;

  constructor(filters) {
    this.#filters = filters;
    /** Resolves when there is a call, or never will be. */
    this.opened = new Promise((resolve) => (this.#open = resolve));
  }

  /** Runs the filters until the call has ended. */
  begin(call, streamCall, start) {
    this.result = runFilters(this.#filters, call, (inner) => this.#last(inner, streamCall, start), false);
    const settle = () => {
      if (!this.#isOpen) streamCall.finish();
      else if (!streamCall.finished) streamCall.cancel(); // a filter waits no more
      this.#open();
    };
    this.result.then(settle, settle);
  }

  async #last(inner, streamCall, start) {
    const cancelled = () => new RpcError(Status.CANCELLED, `${labelOf(inner.method)}: the stream was cancelled`);
    if (this.#isLeft) throw cancelled();
    start(inner);
    this.#isOpen = true;
    this.#open();
    await streamCall.flow.until(() => streamCall.finished);
    if (!streamCall.failure) await this.#taken;
    inner.end_.headers = streamCall.headers ?? inner.end_.headers;
    inner.end_.trailers = streamCall.trailers;
    if (streamCall.failure) throw streamCall.failure;
  }

  /** Lets the filters end, and rejects with what they do. */
  end() {
    this.leave();
    return this.result;
  }

  leave() {
    this.#isLeft = true;
    this.#take();
  }
}

module.exports = { Around, FilteredCall, clockOf, filtersOf, optionsInside, runFilters };

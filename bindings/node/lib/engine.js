// engine.js - the queue of this isolate: hands each event to whoever its tag stands for.
//
// The addon calls `deliver` once for all events of a poll. A receiver is an object with receive(event).
"use strict";

const abi = require("./abi");

const receivers = new Map(); // by tag
let lastTag = 0;
let holders = 0;
let numbers; // of the events of the last poll
let slab; // their messages and metadata

/** One event. It is the same object each time, so that receivers keep what they took from it. */
const event = { kind: 0, call: 0, flags: 0, status: 0, value: 0, data: null, metadata: null };

/** Makes the queue when it is first needed. NEBULA_REGISTRY chooses the registry. */
function open() {
  if (slab) return;
  const arrays = abi.open(deliver);
  numbers = new Float64Array(arrays.numbers);
  slab = Buffer.from(arrays.bytes);
}

function deliver(count, larger) {
  const bytes = larger ? Buffer.from(larger) : slab;
  const last = (count - 1) * abi.FIELDS;
  bytesEnd = numbers[last + 6] + Math.max(numbers[last + 7], 0) + numbers[last + 8];
  pieceEnd = -1;
  for (let i = 0, at = 0; i < count; i++, at += abi.FIELDS) {
    const receiver = receivers.get(numbers[at + 1]);
    if (!receiver) continue;
    event.kind = numbers[at];
    event.call = numbers[at + 2];
    event.flags = numbers[at + 3];
    event.status = numbers[at + 4];
    event.value = numbers[at + 5];
    const begin = numbers[at + 6];
    const middle = begin + Math.max(numbers[at + 7], 0);
    const end = middle + numbers[at + 8];
    event.data = numbers[at + 7] < 0 ? null : kept(bytes, begin, middle);
    event.metadata = middle === end ? null : kept(bytes, middle, end);
    try {
      receiver.receive(event);
    } catch (error) {
      // It ends the program as any other does, but not before the other events have come where they belong.
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

// Small ones that came together are copied together, into pieces of the size of Node's own pool: whoever keeps one of them
// keeps no more than that.
const PIECE = 8 << 10;
let piece, pieceBegin, pieceEnd;
let bytesEnd; // of those of this poll

/** A copy of bytes of this poll. */
function kept(bytes, begin, end) {
  if (end - begin > PIECE / 2) return Buffer.from(bytes.subarray(begin, end));
  if (begin < pieceBegin || end > pieceEnd) {
    pieceBegin = begin;
    pieceEnd = Math.min(begin + PIECE, bytesEnd);
    piece = Buffer.from(bytes.subarray(begin, pieceEnd));
  }
  return piece.subarray(begin - pieceBegin, end - pieceBegin);
}

const newTag = () => ++lastTag;
const know = (tag, receiver) => receivers.set(tag, receiver);
const forget = (tag) => receivers.delete(tag);

/** The process does not end by itself before as many releases. */
function hold() {
  if (holders++ === 0) abi.hold(1);
}

function release() {
  if (--holders === 0) abi.hold(0);
}

/** How many calls, servers and drains are open: for tests. */
const openCount = () => holders;

module.exports = { open, newTag, know, forget, hold, release, openCount };

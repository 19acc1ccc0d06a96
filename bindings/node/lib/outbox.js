// outbox.js - messages that streams have sent, on their way to the engine.
//
// To cross into native code costs more than most messages do. The first that a stream sends in a turn of the loop crosses
// at once. Those that it sends after that, before other work of the loop, are laid down here, and cross together with
// those of other streams.
"use strict";

const { performance } = require("node:perf_hooks");

const abi = require("./abi");

const BYTES = 64 << 10;
const MESSAGES = 256;
// Larger ones cross alone: there is little to save.
const MESSAGE_BYTES = 4 << 10;
// After so many milliseconds without other work of the loop, whoever sends has computed: what it sends does not wait.
const TURN_MS = 1;

const bytes = Buffer.allocUnsafeSlow(BYTES);
const numbers = new Float64Array(MESSAGES * 3); // of each message: its call, its flags, its size
const results = new Int32Array(MESSAGES);
const flows = []; // of each message; its `sent(result)` hears what the engine said, if that is not 0
let end = 0; // of the messages
let turn = 1;
let ends = 0; // that turn, on the clock of performance.now(); 0: it has not begun

/** Takes a message. False: it is to cross at once. */
function lay(flow, data, flags) {
  const now = performance.now();
  if (ends === 0) {
    ends = now + TURN_MS;
    process.nextTick(endTurn);
  } else if (now > ends) {
    turn++;
    ends = now + TURN_MS;
  }
  const most = typeof data === "string" ? data.length * 3 : data.length; // a UTF-16 unit is three bytes of UTF-8 at most
  if (flow.turn !== turn || most > MESSAGE_BYTES) {
    flow.turn = turn;
    return false;
  }
  if (flows.length === MESSAGES || end + most > BYTES) flush();
  const at = flows.push(flow) * 3 - 3;
  let size = most;
  if (typeof data === "string") size = bytes.write(data, end);
  else bytes.set(data, end);
  end += size;
  numbers[at] = flow.call;
  numbers[at + 1] = flags;
  numbers[at + 2] = size;
  return true;
}

/** What is laid down goes to the engine now. To be called before all else that a call is told. */
function flush() {
  const count = flows.length;
  if (count === 0) return;
  abi.callSendAll(numbers, bytes, results, count);
  end = 0;
  const sent = flows.splice(0);
  for (let i = 0; i < count; i++) if (results[i] !== 0) sent[i].sent(results[i]);
}

function endTurn() {
  turn++;
  ends = 0;
  flush();
}

module.exports = { flush, lay };

// flow.js - the messages of one streaming call, both ways, as bytes.
//
// Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
// sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some.
"use strict";

const abi = require("./abi");

// Messages taken are reported to the engine in portions of so many bytes or messages. It stops the sender at four times
// as many.
const PORTION_BYTES = 64 << 10;
const PORTION_MESSAGES = 512;

// Messages sent in a row before others in the loop get their turn, and what was submitted leaves.
const SENDS_IN_A_ROW = 64;

class Flow {
  constructor(call) {
    this.call = call;
    this.ended = false; // the peer sends no more
    this.over = false; // nothing can be sent any more
    this.inbox = [];
    this.writables = 0; // how often there was room again
    this.bytes = 0; // taken, not reported yet
    this.messages = 0;
    this.sends = 0; // in a row
    this.waiting = [];
  }

  /** Takes one of the events of a stream. */
  on(event) {
    if (event.kind === abi.EV_WRITABLE) {
      this.writables++;
    } else {
      if (event.data) this.inbox.push(event.data);
      this.ended = event.kind === abi.EV_END || (event.flags & abi.END) !== 0;
    }
    this.ring();
  }

  /** The call is over, however it ended. What has come is still there. */
  end() {
    this.ended = this.over = true;
    this.ring();
  }

  /** Something has changed: whoever waits looks again. */
  ring() {
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  async until(condition) {
    while (!condition()) await new Promise((resolve) => this.waiting.push(resolve));
  }

  /** The next message; null: there are no more. */
  async receive() {
    if (this.inbox.length === 0 && !this.ended) await this.until(() => this.inbox.length > 0 || this.ended);
    if (this.inbox.length === 0) return null;
    const data = this.inbox.shift();
    this.bytes += data.length;
    this.messages++;
    if (this.bytes >= PORTION_BYTES || this.messages >= PORTION_MESSAGES) {
      abi.callConsume(this.call, this.bytes);
      this.bytes = this.messages = 0;
    }
    return data;
  }

  /** Submits a message, then waits for room. False: the call is over, and how it ended is known. */
  async send(data, flags) {
    const before = this.writables;
    const result = this.submit(data, flags);
    if (result === abi.E_STALE) {
      await this.until(() => this.over); // its last event may still be on its way
    } else if (result === abi.FULL) {
      await this.until(() => this.writables !== before || this.over);
      this.sends = 0;
    } else if (++this.sends >= SENDS_IN_A_ROW) {
      await new Promise(setImmediate);
      this.sends = 0;
    }
    return result !== abi.E_STALE;
  }

  /** 0, FULL, or E_STALE: the call is over. */
  submit(data, flags) {
    const result = abi.callSend(this.call, data, flags);
    if (result === abi.E_STATE) throw new Error("the stream of messages to send has ended");
    if (result < 0 && result !== abi.E_STALE) throw new Error(abi.strerror(result));
    return result;
  }
}

module.exports = { Flow };

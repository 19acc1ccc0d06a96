// flow.js - the messages of one streaming call, both ways, as bytes.
//
// Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
// sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some.
"use strict";

const abi = require("./abi");
const outbox = require("./outbox");

// Messages taken are reported to the engine in portions of so many bytes or messages. It stops the sender at four times
// as many.
const PORTION_BYTES = 64 << 10;
const PORTION_MESSAGES = 512;

// Messages sent in a row before others in the loop get their turn, and what was submitted leaves.
const SENDS_IN_A_ROW = 256;

class Flow {
  constructor(call) {
    this.call = call;
    this.ended = false; // the peer sends no more
    this.over = false; // nothing can be sent any more
    this.inbox = [];
    this.isFull = false; // the engine has told so, and not yet of room
    this.refusal = 0; // nothing more can be sent: why, as the engine says it
    this.turn = 0; // of the outbox, in which the last one was sent
    this.bytes = 0; // taken, not reported yet
    this.messages = 0;
    this.sends = 0; // in a row
    this.waiting = [];
  }

  /** Takes one of the events of a stream. */
  on(event) {
    if (event.kind === abi.EV_WRITABLE) {
      this.isFull = false;
    } else {
      if (event.data) this.inbox.push(event.data);
      this.ended = event.kind === abi.EV_END || (event.flags & abi.END) !== 0;
    }
    this.ring();
  }

  /** The call is over, however it ended. What has come is still there. */
  end() {
    this.ended = this.over = true;
    this.refusal ||= abi.E_STALE;
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

  /** The next message, or a promise of it where it has not come yet; null: there are no more. */
  receive() {
    if (this.inbox.length === 0) {
      return this.ended ? null : this.until(() => this.inbox.length > 0 || this.ended).then(() => this.receive());
    }
    const data = this.inbox.shift();
    this.bytes += data.length;
    this.messages++;
    if (this.bytes >= PORTION_BYTES || this.messages >= PORTION_MESSAGES) {
      abi.callConsume(this.call, this.bytes);
      this.bytes = this.messages = 0;
    }
    return data;
  }

  /** Submits a message. True, or a promise where one has to wait for room: false if the call is over by then. */
  send(data, flags) {
    if (this.refusal === 0 && !outbox.lay(this, data, flags)) this.submit(data, flags);
    return this.refusal === 0 && !this.isFull && ++this.sends < SENDS_IN_A_ROW ? true : this.#room();
  }

  async #room() {
    outbox.flush();
    if (this.isFull) await this.until(() => !this.isFull || this.over);
    else if (this.refusal === 0) await new Promise(setImmediate);
    this.sends = 0;
    if (this.refusal === 0) return true;
    this.#check();
    await this.until(() => this.over); // its last event may still be on its way
    return false;
  }

  /** Submits now. Throws what the engine refuses, but for a call that is over. */
  submit(data, flags) {
    outbox.flush();
    this.sent(abi.callSend(this.call, data, flags));
    this.#check();
  }

  /** What the engine says of a message. */
  sent(result) {
    if (result === abi.FULL) this.isFull = true;
    else if (result < 0) this.refusal = result;
  }

  #check() {
    if (this.refusal === abi.E_STATE) throw new Error("the stream of messages to send has ended");
    if (this.refusal < 0 && this.refusal !== abi.E_STALE) throw new Error(abi.strerror(this.refusal));
  }
}

module.exports = { Flow };

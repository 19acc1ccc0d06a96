// flow.go - the messages of one streaming call, both ways, as bytes.
//
// Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
// sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some. To
// cross into C costs more than most messages: those that come before the port has turned to the last one are laid down,
// and cross together. Those that come together are one event, and taken apart here.
package nebula

import (
	"encoding/binary"
	"errors"
	"sync"
)

// What was taken is reported to the engine in portions of so many bytes or events. It stops the sender at four times as
// many.
const (
	portionBytes  = 64 << 10
	portionEvents = 512
)

// So much is laid down at most, about a DATA frame.
const runBytes = 16 << 10

// In a run each message is behind so many bytes: 0, and its size.
const prefixBytes = 5

var (
	errOver      = errors.New("nebula: the call is over")
	errSendEnded = errors.New("nebula: the stream of messages to send has ended")
)

// flow is filled by its port; one goroutine receives and one sends.
type flow struct {
	call uint64
	port *port

	lock      sync.Mutex
	changed   sync.Cond
	inbox     []piece
	ended     bool   // the peer sends no more
	over      bool   // nothing can be sent any more
	writables int    // how often there was room again
	isFull    bool   // and there is none since
	laid      []byte // messages that have not gone to the engine yet, a run of them
	turn      uint64 // of the port's: after that one it looks again
	refusal   error

	handing sync.Mutex // held while they do, for their order
	spare   []byte

	// The receiver's.
	taken         []piece // what was in the inbox when it looked: it and the port meet once for many messages
	next          int     // of them
	rest          []byte  // of a run
	bytes, events int     // received, not reported yet
}

// A piece is a message, or a run of them.
type piece struct {
	data  []byte
	isRun bool
	of    joined
}

func newFlow(p *port, call uint64) *flow {
	f := &flow{port: p, call: call}
	f.changed.L = &f.lock
	return f
}

func (f *flow) update(change func()) {
	f.lock.Lock()
	change()
	f.lock.Unlock()
	f.changed.Broadcast()
}

// on takes one of the events of a stream.
func (f *flow) on(e *event) {
	f.update(func() {
		if e.kind == eventWritable {
			f.writables++
			f.isFull = false
			return
		}
		if e.data != nil {
			f.inbox = append(f.inbox, piece{e.data, e.flags&flagRun != 0, e.joined})
		}
		f.ended = e.kind == eventEnd || e.flags&flagEnd != 0
	})
}

// end: the call is over, however it ended. What has come is still there.
func (f *flow) end() {
	f.update(func() { f.over, f.ended = true, true })
}

func (f *flow) wait(until func() bool) {
	f.lock.Lock()
	for !until() {
		f.changed.Wait()
	}
	f.lock.Unlock()
}

// receive waits for the next message; nil: there are no more.
func (f *flow) receive() []byte {
	if len(f.rest) == 0 {
		if f.next == len(f.taken) && !f.take() {
			return nil
		}
		next := f.taken[f.next]
		f.taken[f.next] = piece{}
		f.next++
		f.report(next.of)
		if !next.isRun {
			return next.data
		}
		f.rest = next.data
	}
	end := prefixBytes + int(binary.BigEndian.Uint32(f.rest[1:]))
	data := f.rest[prefixBytes:end:end]
	f.rest = f.rest[end:]
	return data
}

func (f *flow) report(of joined) {
	f.bytes += of.bytes
	f.events += of.events
	if f.bytes >= portionBytes || f.events >= portionEvents {
		callConsume(f.call, uint64(f.bytes))
		f.bytes, f.events = 0, 0
	}
}

// take waits for messages; false: there are no more.
func (f *flow) take() bool {
	f.lock.Lock()
	for len(f.inbox) == 0 && !f.ended {
		f.changed.Wait()
	}
	f.taken, f.inbox, f.next = f.inbox, f.taken[:0], 0
	f.lock.Unlock()
	return len(f.taken) > 0
}

// send takes a message, and waits while the peer does not read. errOver: the call is over.
func (f *flow) send(data []byte) error {
	f.lock.Lock()
	for f.isFull && !f.over {
		f.changed.Wait()
	}
	if f.over {
		f.refusal = errOver
	}
	if f.refusal != nil {
		defer f.lock.Unlock()
		return f.refusal
	}
	if len(data) >= runBytes || !f.port.willTurn(f) {
		f.lock.Unlock()
		return f.hand(func() int32 { return callSend(f.call, data, flagCompress) })
	}
	f.laid = append(binary.BigEndian.AppendUint32(append(f.laid, 0), uint32(len(data))), data...)
	isMuch := len(f.laid) >= runBytes
	f.lock.Unlock()
	if isMuch {
		return f.flush()
	}
	return nil
}

// endSending: no more messages come.
func (f *flow) endSending() error {
	err := f.hand(func() int32 { return callSend(f.call, nil, flagEnd) })
	f.lock.Lock()
	defer f.lock.Unlock()
	if f.refusal == nil {
		f.refusal = errSendEnded
	}
	return err
}

func (f *flow) flush() error { return f.hand(nil) }

// flushAt is the port's flush. It looks again after this turn, so that what comes meanwhile may be laid down.
func (f *flow) flushAt(turn uint64) {
	f.lock.Lock()
	f.turn = turn
	isEmpty := len(f.laid) == 0
	f.lock.Unlock()
	if !isEmpty {
		f.flush()
	}
}

// hand gives the engine what was laid down, and then the next thing, if there is one.
func (f *flow) hand(next func() int32) error {
	f.handing.Lock()
	defer f.handing.Unlock()
	f.lock.Lock()
	laid, writables := f.laid, f.writables
	f.laid = f.spare
	f.lock.Unlock()
	result := int32(0)
	if len(laid) > 0 {
		result = callSend(f.call, laid, flagCompress|flagRun)
	}
	if next != nil && result >= 0 {
		result = next()
	}
	f.spare = laid[:0]
	f.lock.Lock()
	defer f.lock.Unlock()
	switch {
	case result == full:
		f.isFull = f.writables == writables
	case result == eStale:
		f.refusal = errOver
	case result == eState:
		f.refusal = errSendEnded
	case result < 0:
		f.refusal = engineErrorOf(result)
	}
	if result < 0 {
		return f.refusal
	}
	return nil
}

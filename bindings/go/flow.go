// flow.go - the messages of one streaming call, both ways, as bytes.
//
// Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
// sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some.
package nebula

import (
	"errors"
	"sync"
)

// Messages taken are reported to the engine in portions of so many bytes or messages. It stops the sender at four times
// as many.
const (
	portionBytes    = 64 << 10
	portionMessages = 512
)

var (
	errOver      = errors.New("nebula: the call is over")
	errSendEnded = errors.New("nebula: the stream of messages to send has ended")
)

// flow is filled by its port; one goroutine receives and one sends.
type flow struct {
	call uint64

	lock      sync.Mutex
	changed   sync.Cond
	inbox     [][]byte
	ended     bool // the peer sends no more
	over      bool // nothing can be sent any more
	writables int  // how often there was room again

	// The receiver's.
	taken           [][]byte // what was in the inbox when it looked: it and the port meet once for many messages
	next            int      // of them
	bytes, messages int      // received, not reported yet
}

func newFlow(call uint64) *flow {
	f := &flow{call: call}
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
			return
		}
		if e.data != nil {
			f.inbox = append(f.inbox, e.data)
		}
		f.inbox = append(f.inbox, e.more...)
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
	if f.next == len(f.taken) && !f.take() {
		return nil
	}
	data := f.taken[f.next]
	f.taken[f.next] = nil
	f.next++
	f.bytes += len(data)
	f.messages++
	if f.bytes >= portionBytes || f.messages >= portionMessages {
		callConsume(f.call, uint64(f.bytes))
		f.bytes, f.messages = 0, 0
	}
	return data
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

// send submits a message and waits for room. errOver: the call is over.
func (f *flow) send(data []byte, flags uint32) error {
	f.lock.Lock()
	before := f.writables
	f.lock.Unlock()
	switch result := callSend(f.call, data, flags); {
	case result == full:
		f.wait(func() bool { return f.writables != before || f.over })
		return nil
	case result == eStale:
		return errOver
	case result == eState:
		return errSendEnded
	case result < 0:
		return engineErrorOf(result)
	}
	return nil
}

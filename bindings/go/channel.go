// channel.go - channels: the way to services.
package nebula

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// TLS is files (PEM) for the tls:// addresses of a server or a channel; docs/tls.md. They are read again when they have
// changed.
type TLS struct {
	Certificate string // ours, with its intermediates; a server must have one
	Key         string // "": in the same file
	Authorities string // who may vouch for the peer; "": the system's, and on a server nobody is asked
	ServerName  string // client: what the server's certificate must be for; "": the host of the address
}

// ChannelOptions are those of nebula.h; zero is the default.
type ChannelOptions struct {
	MaxMessage       uint32        // bytes of a response at most; 0: 4 MiB
	Keepalive        time.Duration // pings a server that was silent for so long, at least 10 s; 0: never
	KeepaliveTimeout time.Duration // the connection is lost if nothing comes within so long after; 0: 20 s
	KeepaliveAlways  bool          // also without calls
	MaxIdle          time.Duration // without calls for so long, connections are closed until the next one; 0: 30 min
	Compression      Compression   // of requests; 0: none
	TLS              *TLS
	Policy           string   // between a name and its instances, "balancer=round_robin: retry:?tries=5"; docs/policies.md
	Filters          []Filter // around all calls; the first is the outermost
}

// Channel is a way to reach services, for any number of goroutines. It is closed by Close, or when it is no longer
// referenced.
type Channel struct {
	target  string
	filters []Filter

	lock    sync.RWMutex
	handle  channelHandle
	closed  bool
	methods map[method]uint64
}

// A method as the engine's channel numbers it.
type method struct {
	name  string
	shape int
}

// Dial makes a channel to nebula://name (one service), to nebula: (each call names its service, as Call does without a
// channel), or to an address: tcp://host:port, tls://host:port, unix:/path, mem:name. It connects when a call needs it.
// options may be nil. The error is an EngineError: a target that is none, files that cannot be read.
func Dial(target string, options *ChannelOptions) (*Channel, error) {
	if err := open(); err != nil {
		return nil, err
	}
	if options == nil {
		options = &ChannelOptions{}
	}
	handle, err := newChannel(process.engine, target, options)
	if err != nil {
		return nil, err
	}
	c := &Channel{target: target, filters: options.Filters, handle: handle, methods: map[method]uint64{}}
	runtime.SetFinalizer(c, (*Channel).Close)
	return c, nil
}

// Close drops the connections; calls that run end with CANCELLED. Harmless when repeated.
func (c *Channel) Close() {
	c.lock.Lock()
	defer c.lock.Unlock()
	if !c.closed {
		c.closed = true
		c.handle.free()
		runtime.SetFinalizer(c, nil)
	}
}

func (c *Channel) String() string { return "nebula.Channel " + c.target }

// number is the engine's of a method.
func (c *Channel) number(name string, shape int) (uint64, error) {
	key := method{name, shape}
	c.lock.RLock()
	number, isClosed := c.methods[key], c.closed
	c.lock.RUnlock()
	if isClosed {
		return 0, &Error{Code: Cancelled, Message: "the channel is closed", Fault: CallerFault}
	}
	if number != 0 {
		return number, nil
	}
	path, err := pathOf(name)
	if err != nil {
		return 0, refused("%v", err)
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if !c.closed {
		number = c.handle.method(path, shape)
	}
	if number == 0 {
		return 0, refused("%q is no method: service.method, or /service/method", name)
	}
	c.methods[key] = number
	return number, nil
}

// pathOf is "/shop.v1.Cart/Add", for that or for "shop.v1.Cart.Add".
func pathOf(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return name, nil
	}
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || dot == len(name)-1 {
		return "", fmt.Errorf("%q is no method: service.method, or /service/method", name)
	}
	return "/" + name[:dot] + "/" + name[dot+1:], nil
}

// labelOf is how a method is named to people: "shop.v1.Cart.Add".
func labelOf(name string) string {
	return strings.Replace(strings.TrimPrefix(name, "/"), "/", ".", 1)
}

var common struct {
	once    sync.Once
	channel *Channel
	err     error
}

// commonChannel is the one of all calls that name none.
func commonChannel() (*Channel, error) {
	common.once.Do(func() { common.channel, common.err = Dial("nebula:", nil) })
	return common.channel, common.err
}

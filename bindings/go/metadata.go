// metadata.go - the ordered names and values that travel beside a message.
package nebula

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"
)

// A Pair of metadata: the name is of [0-9a-z_.-]; the value is printable ASCII, or any bytes if the name ends in
// "-bin".
type Pair struct{ Name, Value string }

// Metadata is in order; a name may come more than once.
type Metadata []Pair

// MD makes metadata of names and values in turn: nebula.MD("tenant", "a", "trace-bin", "\x00\x01"). It panics if a
// value is missing.
func MD(namesAndValues ...string) Metadata {
	if len(namesAndValues)%2 != 0 {
		panic("nebula.MD: a name without a value")
	}
	var m Metadata
	for i := 0; i < len(namesAndValues); i += 2 {
		m = append(m, Pair{namesAndValues[i], namesAndValues[i+1]})
	}
	return m
}

// Get is the first value of that name, "" if there is none.
func (m Metadata) Get(name string) string {
	for _, pair := range m {
		if pair.Name == name {
			return pair.Value
		}
	}
	return ""
}

// All is every value of that name.
func (m Metadata) All(name string) []string {
	var values []string
	for _, pair := range m {
		if pair.Name == name {
			values = append(values, pair.Value)
		}
	}
	return values
}

type outgoing struct{}

// WithMetadata is a context whose calls send this metadata, after what ctx has already.
func WithMetadata(ctx context.Context, namesAndValues ...string) context.Context {
	before, _ := ctx.Value(outgoing{}).(Metadata)
	return context.WithValue(ctx, outgoing{}, append(before[:len(before):len(before)], MD(namesAndValues...)...))
}

// In the byte order of the machine, as the ABI has it.
var order = func() binary.ByteOrder {
	if n := uint16(1); *(*byte)(unsafe.Pointer(&n)) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

const nameLetters = "abcdefghijklmnopqrstuvwxyz0123456789_.-"

// All that begins with grpc- is gRPC's own, but for what a handler says of another try (gRFC A6).
func isReserved(name string) bool {
	return strings.HasPrefix(name, "grpc-") && name != "grpc-retry-pushback-ms" || name == "nebula-retries-left"
}

// pack makes the engine's block of { u32 name size, u32 value size, name, value }. The error names the pair at fault.
func (m Metadata) pack() ([]byte, error) {
	var block []byte
	for _, pair := range m {
		if pair.Name == "" || strings.Trim(pair.Name, nameLetters) != "" || isReserved(pair.Name) {
			return nil, fmt.Errorf("metadata name %q: only [0-9a-z_.-], and none of gRPC's or the engine's own", pair.Name)
		}
		isText := func(r rune) bool { return r >= ' ' && r <= '~' }
		if !strings.HasSuffix(pair.Name, "-bin") && strings.TrimFunc(pair.Value, isText) != "" {
			return nil, fmt.Errorf("metadata %q: only printable ASCII, unless the name ends in -bin", pair.Name)
		}
		var sizes [8]byte
		order.PutUint32(sizes[:4], uint32(len(pair.Name)))
		order.PutUint32(sizes[4:], uint32(len(pair.Value)))
		block = append(append(append(block, sizes[:]...), pair.Name...), pair.Value...)
	}
	return block, nil
}

func unpack(block []byte) Metadata {
	var m Metadata
	for len(block) >= 8 {
		name, value := order.Uint32(block), order.Uint32(block[4:])
		block = block[8:]
		m = append(m, Pair{string(block[:name]), string(block[name : name+value])})
		block = block[name+value:]
	}
	return m
}

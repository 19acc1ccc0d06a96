// errors.go - how a call ends when it does not end well.
package nebula

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Code is one of gRPC's status codes.
type Code int32

const (
	OK Code = iota
	Cancelled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

var codeNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

func (c Code) String() string { return word(int(c), codeNames[:]) }

// Fate is how far the request of a call got, for whoever wants to repeat it.
type Fate uint8

const (
	Unsent      Fate = iota // it never left this process: repeating it is safe
	Unprocessed             // the peer says that its application has not seen it: repeating it is safe
	FateUnknown             // the connection was lost, or we gave up: it may have been executed
	Processed               // the peer's application has answered or refused it
)

func (f Fate) String() string {
	return word(int(f), []string{"unsent", "unprocessed", "unknown", "processed"})
}

// Fault is whose fault a failure is.
type Fault uint8

const (
	NoFault Fault = iota
	CallerFault
	NetworkFault
	CalleeFault
	Overload
)

func (f Fault) String() string {
	return word(int(f), []string{"none", "caller", "network", "callee", "overload"})
}

func word(n int, words []string) string {
	if n < 0 || n >= len(words) {
		return strconv.Itoa(n)
	}
	return words[n]
}

// Error is a failed call: what a call returns, and what a handler returns for its caller to see.
//
//	var failure *nebula.Error
//	if errors.As(err, &failure) && failure.Fate == nebula.Unsent { ... }
//
// errors.Is(err, context.DeadlineExceeded) and context.Canceled hold for the codes of that meaning.
type Error struct {
	Code     Code
	Message  string
	Trailers Metadata
	Fate     Fate // of a call of ours
	Fault    Fault
}

// Errorf is an Error for a handler to return. code is other than OK.
func Errorf(code Code, format string, arguments ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, arguments...)}
}

func (e *Error) Error() string {
	if e.Message == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Message
}

func (e *Error) Is(target error) bool {
	return e.Code == DeadlineExceeded && target == context.DeadlineExceeded ||
		e.Code == Cancelled && target == context.Canceled
}

// CodeOf is the code that err has on the wire: of an Error its own, of nil OK, of a context's error what that means, of
// any other Unknown.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return Cancelled
	}
	return Unknown
}

// failureOf is the error of a call that has ended with an event; nil if it ended well.
func failureOf(e *event) error {
	if e.status == 0 {
		return nil
	}
	return &Error{Code(e.status), string(e.data), unpack(e.metadata), Fate(e.value), Fault(e.value >> 8)}
}

// refused is the error of a call that cannot be made.
func refused(format string, arguments ...any) error {
	return &Error{Code: InvalidArgument, Message: fmt.Sprintf(format, arguments...), Fault: CallerFault}
}

// malformed is the error of a call whose answer cannot be read.
func malformed(method string, why error) error {
	e := Errorf(Internal, "%s: malformed answer: %v", method, why)
	e.Fate, e.Fault = Processed, CalleeFault
	return e
}

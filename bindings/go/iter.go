// iter.go - streams in a for loop, where the language has that.
//go:build go1.23

package nebula

import (
	"io"
	"iter"
)

// All is the messages to come, and at last the error of a call that failed:
//
//	for price, err := range stream.All() { ... }
func (r *Reader[T]) All() iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			message, err := r.Recv()
			if err == io.EOF || !yield(message, err) || err != nil {
				return
			}
		}
	}
}

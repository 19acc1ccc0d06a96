// go/load.go - calls and long streams, a line for each that has ended; as load.cc, which says more.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"example.org/nebula"
)

// What is in the column of codes of a call that was answered with something else than it asked for.
const wrongAnswer = -1

const pauseMin = 10 * time.Millisecond

type outcome struct {
	code           int
	fate, instance string
}

func failure(err error) outcome {
	var e *nebula.Error
	if errors.As(err, &e) {
		return outcome{int(e.Code), e.Fate.String(), "-"}
	}
	return outcome{int(nebula.CodeOf(err)), "-", "-"}
}

func readAnswer(answer, rest string) outcome {
	instance, echoed, _ := strings.Cut(answer, " ")
	if echoed != rest {
		return outcome{wrongAnswer, "-", instance}
	}
	return outcome{0, "-", instance}
}

type loader struct {
	name     string
	timeout  time.Duration
	number   int64
	isEnding int32
	open     sync.WaitGroup

	lock sync.Mutex
	log  *bufio.Writer
}

func load(name, log string, rate, streams int, timeout time.Duration) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	l := &loader{name: name, timeout: timeout, log: bufio.NewWriterSize(file, 1<<20)}
	defer l.log.Flush()
	for i := 0; i < streams; i++ {
		place := i
		l.run(func() { l.follow(place) })
	}
	for i := 0; i < -rate; i++ {
		l.run(func() {
			for !l.ends() {
				l.call()
			}
		})
	}
	if rate > 0 {
		l.run(func() { l.pace(rate) })
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	atomic.StoreInt32(&l.isEnding, 1)
	l.open.Wait()
	return nil
}

func (l *loader) ends() bool { return atomic.LoadInt32(&l.isEnding) != 0 }

func (l *loader) run(work func()) {
	l.open.Add(1)
	go func() {
		defer l.open.Done()
		work()
	}()
}

func (l *loader) pace(rate int) {
	begin := time.Now()
	for i := int64(0); !l.ends(); i++ {
		l.sleepUntil(begin.Add(time.Duration(i * int64(time.Second) / int64(rate))))
		l.run(l.call)
	}
}

// sleepUntil notes what one that does nothing oversleeps: the machine had no time for this process.
func (l *loader) sleepUntil(due time.Time) {
	wait := time.Until(due)
	time.Sleep(wait)
	if wait > 0 && time.Since(due) > pauseMin {
		l.note('p', "-", due, outcome{0, "-", "-"})
	}
}

func (l *loader) call() {
	number := atomic.AddInt64(&l.number, 1) - 1
	kind, key := byte('n'), fmt.Sprintf("%s-%d", l.name, number)
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	var options []nebula.CallOption
	if number%2 == 0 {
		kind, options = 'i', append(options, nebula.Idempotent())
	}
	began := time.Now()
	answer, err := nebula.Call[string](ctx, "faults.work", ask{key}, options...)
	if err != nil {
		l.note(kind, key, began, failure(err))
	} else {
		l.note(kind, key, began, readAnswer(answer, key))
	}
}

// follow makes one stream after the other.
func (l *loader) follow(place int) {
	for i := 0; !l.ends(); i++ {
		key := fmt.Sprintf("%s-s%d-%d", l.name, place, i)
		began := time.Now()
		result := l.followOne(key)
		l.note('s', key, began, result)
		if result.code != 0 {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func (l *loader) followOne(key string) (result outcome) {
	stream, err := nebula.CallServerStream[string](context.Background(), "faults.tail", ask{key})
	if err != nil {
		return failure(err)
	}
	defer stream.Close()
	for i := 0; ; i++ {
		answer, err := stream.Recv()
		if err == io.EOF {
			return result
		} else if err != nil {
			return failure(err)
		}
		if result = readAnswer(answer, fmt.Sprintf("%s %d", key, i)); result.code != 0 {
			return result
		}
	}
}

func (l *loader) note(kind byte, key string, began time.Time, o outcome) {
	took := time.Since(began)
	l.lock.Lock()
	defer l.lock.Unlock()
	fmt.Fprintf(l.log, "%c %s %d %d %d %s %s\n", kind, key, began.UnixMicro(), took.Microseconds(), o.code, o.fate, o.instance)
}

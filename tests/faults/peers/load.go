// peers/load.go - calls at a steady rate, a line for each that has ended, as those of go/load.go.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// What is in the column of codes of a call that was answered with something else than it asked for.
const wrongAnswer = -1

type loader struct {
	name    string
	timeout time.Duration
	call    call

	lock sync.Mutex
	log  *bufio.Writer
}

func load(with framework, name, log string, rate int, timeout time.Duration) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	call, err := with.dial(os.Getenv("FAULTS_TARGET"))
	if err != nil {
		return err
	}
	l := &loader{name: name, timeout: timeout, call: call, log: bufio.NewWriterSize(file, 1<<20)}
	defer l.log.Flush()
	ending := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(ending)
	}()
	fmt.Println("ready")
	var open sync.WaitGroup
	defer open.Wait()
	begin := time.Now()
	for i := int64(0); ; i++ {
		select {
		case <-ending:
			return nil
		case <-time.After(time.Until(begin.Add(time.Duration(i * int64(time.Second) / int64(rate))))):
			open.Go(func() { l.one(fmt.Sprintf("%s-%d", l.name, i)) })
		}
	}
}

func (l *loader) one(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	began := time.Now()
	answer, code := l.call(ctx, key)
	took, instance := time.Since(began), "-"
	if code == 0 {
		var echoed string
		if instance, echoed, _ = strings.Cut(answer, " "); echoed != key {
			code = wrongAnswer
		}
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	fmt.Fprintf(l.log, "i %s %d %d %d - %s\n", key, began.UnixMicro(), took.Microseconds(), code, instance)
}

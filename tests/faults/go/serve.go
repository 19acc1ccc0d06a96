// go/serve.go - the service: answers with its instance's name, and remembers every call that it has begun.
package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"example.org/nebula"
)

type service struct {
	name   string
	ledger *os.File
	delay  int64  // ms
	fail   uint64 // a share, as the bits of a float64
}

// ask is what is asked: {"key":"c1-7"} is answered by "s1 c1-7", and by a stream of "s1 c1-7 0" and so on.
type ask struct {
	Key string `json:"key"`
}

// note: what the handler has begun is in the file when the process is killed the moment after.
func (s *service) note(key string) {
	if _, err := fmt.Fprintf(s.ledger, "%s %d\n", key, time.Now().UnixMicro()); err != nil {
		panic(err)
	}
}

func (s *service) work(ctx context.Context, asked ask) (string, error) {
	s.note(asked.Key)
	if delay := atomic.LoadInt64(&s.delay); delay > 0 {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	if rand.Float64() < math.Float64frombits(atomic.LoadUint64(&s.fail)) {
		return "", nebula.Errorf(nebula.Unavailable, "told to fail")
	}
	return s.name + " " + asked.Key, nil
}

func (s *service) tail(ctx context.Context, asked ask, answers *nebula.Writer[string]) error {
	s.note(asked.Key)
	for i := 0; i < tailCount; i++ {
		if i > 0 {
			time.Sleep(tailPause)
		}
		if err := answers.Send(fmt.Sprintf("%s %s %d", s.name, asked.Key, i)); err != nil {
			return err
		}
	}
	return nil
}

func (s *service) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what string
		var value float64
		fmt.Sscan(lines.Text(), &what, &value)
		switch what {
		case "delay":
			atomic.StoreInt64(&s.delay, int64(value))
		case "fail":
			atomic.StoreUint64(&s.fail, math.Float64bits(value))
		}
	}
}

func serve(name, ledger, address string) error {
	file, err := os.OpenFile(ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer restore()
	s := &service{name: name, ledger: file}
	server := nebula.Server{Addresses: []string{address}, Announce: []string{"faults"}}
	nebula.Unary(&server, "faults.work", s.work)
	nebula.ServerStream(&server, "faults.tail", s.tail)
	if err := server.Start(); err != nil {
		return err
	}
	go s.obey()
	fmt.Println("ready")
	return server.Serve(ctx)
}

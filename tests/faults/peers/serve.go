// peers/serve.go - the service, whoever carries its calls: a ledger, and orders on standard input.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

type service struct {
	name   string
	ledger *os.File
	delay  atomic.Int64  // ms
	fail   atomic.Uint64 // a share, as the bits of a float64
}

var errTold = errors.New("told to fail")

func (s *service) work(key string) (string, error) {
	if _, err := fmt.Fprintf(s.ledger, "%s %d\n", key, time.Now().UnixMicro()); err != nil {
		panic(err)
	}
	if delay := s.delay.Load(); delay > 0 {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	if rand.Float64() < math.Float64frombits(s.fail.Load()) {
		return "", errTold
	}
	return s.name + " " + key, nil
}

func (s *service) obey() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var what string
		var value float64
		fmt.Sscan(lines.Text(), &what, &value)
		switch what {
		case "delay":
			s.delay.Store(int64(value))
		case "fail":
			s.fail.Store(math.Float64bits(value))
		}
	}
}

func serve(with framework, name, ledger, address string) error {
	file, err := os.OpenFile(ledger, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", strings.TrimPrefix(address, "tcp://"))
	if err != nil {
		return err
	}
	s := &service{name: name, ledger: file}
	ctx, restore := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer restore()
	go s.obey()
	return with.serve(ctx, s, listener)
}

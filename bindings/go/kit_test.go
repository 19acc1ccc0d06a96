// kit_test.go - what the tests share: a registry of their own, servers to call, programs to start.
package nebula_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"example.org/nebula"
)

// Nothing here takes that long; a test that waits for it has failed.
const patience = 20 * time.Second

// Programs that this test binary is when it is started with NEBULA_TEST_PROGRAM.
var programs = map[string]func(arguments []string) error{}

func TestMain(m *testing.M) {
	if name := os.Getenv("NEBULA_TEST_PROGRAM"); name != "" {
		if err := programs[name](os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Before the engine is made. Short, since a Unix socket's path must fit into 107 bytes.
	registry, err := os.MkdirTemp("/tmp", "neb-")
	if err != nil {
		panic(err)
	}
	os.Setenv("NEBULA_REGISTRY", "host:?dir="+registry)
	code := m.Run()
	os.RemoveAll(registry)
	os.Exit(code)
}

// Person is the request of the code-first methods here.
type Person struct {
	Name string `json:"name"`
	Age  int    `json:"age,omitempty"`
}

// soon is a context for the whole of a test.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// serve starts a server that ends with the test, and gives a channel to it over TCP.
func serve(t *testing.T, s *nebula.Server) *nebula.Channel {
	t.Helper()
	if s.Addresses == nil {
		s.Addresses = []string{"tcp://127.0.0.1:0"}
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return dial(t, s.URLs()[0])
}

func dial(t *testing.T, target string) *nebula.Channel {
	t.Helper()
	c, err := nebula.Dial(target, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// failure is the *Error that err is.
func failure(t *testing.T, err error) *nebula.Error {
	t.Helper()
	var e *nebula.Error
	if !errors.As(err, &e) {
		t.Fatalf("an *Error is expected, not %v", err)
	}
	return e
}

func expect(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what no event tells of.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen: " + what)
		}
	}
}

// Program is a process of its own, killed at the end of the test.
type Program struct {
	*exec.Cmd
	t      *testing.T
	out    *bufio.Reader
	errors strings.Builder
}

func start(t *testing.T, command *exec.Cmd) *Program {
	t.Helper()
	p := &Program{Cmd: command, t: t}
	p.Stderr = &p.errors
	out, err := p.StdoutPipe()
	ok(t, err)
	p.out = bufio.NewReader(out)
	ok(t, p.Start())
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	return p
}

// startSelf starts one of programs.
func startSelf(t *testing.T, name string, arguments ...string) *Program {
	command := exec.Command(os.Args[0], arguments...)
	command.Env = append(os.Environ(), "NEBULA_TEST_PROGRAM="+name)
	return start(t, command)
}

// line is the next one that it prints.
func (p *Program) line() string {
	p.t.Helper()
	got := make(chan string, 1)
	go func() {
		line, _ := p.out.ReadString('\n')
		got <- line
	}()
	select {
	case line := <-got:
		if line == "" {
			p.Wait()
			p.t.Fatalf("%s ended: %s", p.Path, p.errors.String())
		}
		return strings.TrimSuffix(line, "\n")
	case <-time.After(patience):
		p.t.Fatal("no line of " + p.Path)
		return ""
	}
}

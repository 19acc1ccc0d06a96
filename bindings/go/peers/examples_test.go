// examples_test.go - examples/1_hello/go as a reader runs it.
package peers

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
)

const examples = "../../../examples/1_hello/go"

func TestTheExamples(t *testing.T) {
	built := t.TempDir()
	command := exec.Command("go", "build", "-p", "1", "-o", built, "./...")
	command.Dir = examples
	said, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	said, err = exec.Command(filepath.Join(built, "filter")).CombinedOutput()
	ok(t, err)
	if string(said) != "UNAUTHENTICATED: who are you?\nHello Ada! <nil>\n" {
		t.Fatalf("%s", said)
	}
	var services []*exec.Cmd
	for _, name := range []string{"hello", "clock"} {
		source, err := os.ReadFile(filepath.Join(examples, name, "main.go"))
		ok(t, err)
		if lines := bytes.Count(source, []byte("\n")); lines > 25 {
			t.Error(name, "has", lines, "lines")
		}
		service := exec.Command(filepath.Join(built, name))
		ready, err := service.StdoutPipe()
		ok(t, err)
		ok(t, service.Start())
		t.Cleanup(func() { service.Process.Kill() })
		_, err = ready.Read(make([]byte, 1))
		ok(t, err)
		services = append(services, service)
	}
	said, err = exec.Command(filepath.Join(built, "call")).CombinedOutput()
	ok(t, err)
	if !regexp.MustCompile(`^"Hello Ada!" <nil>\n"20\d\d-\d\d-\d\dT[\d:.]+Z" <nil>\n$`).Match(said) {
		t.Fatalf("%s", said)
	}
	for _, service := range services {
		ok(t, service.Process.Signal(syscall.SIGTERM))
		ok(t, service.Wait())
	}
}

// unary_test.go - one request, one answer: by name and by address, JSON, protobuf and bytes.
package nebula_test

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"example.org/nebula"
)

func greet(ctx context.Context, in Person) (string, error) { return "Hello " + in.Name + "!", nil }

func init() {
	programs["hello"] = func(arguments []string) error {
		var s nebula.Server
		nebula.Unary(&s, arguments[0]+".greet", greet)
		nebula.Unary(&s, arguments[0]+".wait", func(ctx context.Context, ms int) (string, error) {
			time.Sleep(time.Duration(ms) * time.Millisecond)
			return "waited", nil
		})
		return s.Run()
	}
}

func TestAServiceIsCalledByItsName(t *testing.T) {
	hello := startSelf(t, "hello", "hello")
	ready := hello.line()
	if !strings.HasPrefix(ready, "hello  (go)  ready   tcp://127.0.0.1:2") || !strings.Contains(ready, "unix:") {
		t.Fatal(ready)
	}
	greeting, err := nebula.Call[string](soon(t), "hello.greet", nebula.M{"name": "Ada"})
	ok(t, err)
	expect(t, greeting, "Hello Ada!")
	ch := dial(t, "nebula://hello")
	greeting, err = nebula.Call[string](soon(t), "/hello/greet", Person{Name: "Bob"}, nebula.Via(ch))
	ok(t, err)
	expect(t, greeting, "Hello Bob!")
}

func TestNobodyThereSaysSoAtOnceAndWhatIsSimilar(t *testing.T) {
	startSelf(t, "hello", "hello-there").line()
	_, err := nebula.Call[string](soon(t), "helo-there.greet", nebula.M{})
	e := failure(t, err)
	expect(t, e.Code, nebula.Unavailable)
	expect(t, e.Fate, nebula.Unsent)
	if !strings.Contains(e.Message, `no instance of "helo-there"`) || !strings.Contains(e.Message, "hello-there") {
		t.Fatal(e.Message)
	}
}

func TestAKilledServiceIsUnavailableAndANewOneIsFound(t *testing.T) {
	for i := 0; i < 3; i++ {
		phoenix := startSelf(t, "hello", "phoenix")
		phoenix.line()
		_, err := nebula.Call[string](soon(t), "phoenix.greet", nebula.M{"name": "Ada"}, nebula.WaitForReady())
		ok(t, err)
		phoenix.Process.Kill()
		phoenix.Wait()
		eventually(t, "it is missed", func() bool {
			_, err := nebula.Call[string](soon(t), "phoenix.greet", nebula.M{"name": "Ada"})
			return nebula.CodeOf(err) == nebula.Unavailable
		})
	}
}

func TestSIGTERMLetsRunningCallsEndAndTheProgramReturns0(t *testing.T) {
	hello := startSelf(t, "hello", "leaving")
	hello.line()
	answers := make(chan error, 1)
	go func() {
		_, err := nebula.Call[string](context.Background(), "leaving.wait", 300)
		answers <- err
	}()
	time.Sleep(100 * time.Millisecond) // it is under way
	ok(t, hello.Process.Signal(syscall.SIGTERM))
	ok(t, <-answers)
	ok(t, hello.Wait())
	_, err := nebula.Call[string](soon(t), "leaving.wait", 0)
	expect(t, nebula.CodeOf(err), nebula.Unavailable)
}

func TestASecondSignalEndsTheProgramAtOnce(t *testing.T) {
	hello := startSelf(t, "hello", "impatient")
	hello.line()
	go nebula.Call[string](context.Background(), "impatient.wait", 60000)
	time.Sleep(100 * time.Millisecond)
	ok(t, hello.Process.Signal(syscall.SIGTERM))
	time.Sleep(200 * time.Millisecond)
	ok(t, hello.Process.Signal(syscall.SIGTERM))
	began := time.Now()
	if err := hello.Wait(); err == nil || time.Since(began) > 5*time.Second {
		t.Fatal(err, time.Since(began))
	}
}

func TestFieldsAreCheckedAndTheErrorNamesThem(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "hello.greet", greet)
	ch := serve(t, &s)
	for _, c := range []struct {
		request any
		message string
	}{
		{nebula.M{"nme": "Ada"}, `hello.greet has no field "nme" (fields: name, age); did you mean "name"?`},
		{nebula.M{"name": 7}, `hello.greet: field "name" must be a string, not a number`},
		{nebula.M{"age": "old"}, `hello.greet: field "age" must be an integer, not a string`},
		{[]int{1}, `hello.greet: the message must be an object, not a list`},
		{[]byte(`{"name": `), `hello.greet: malformed JSON: unexpected EOF`},
		{[]byte(`{} {}`), `hello.greet: malformed JSON: there is more than one value`},
	} {
		_, err := nebula.Call[string](soon(t), "hello.greet", c.request, nebula.Via(ch))
		e := failure(t, err)
		expect(t, e.Code, nebula.InvalidArgument)
		expect(t, e.Message, c.message)
	}
}

func TestAWrongRequestIsNotSent(t *testing.T) {
	type address struct{ Zip string }
	type guest struct {
		address
		Name    string            `json:"name"`
		Age     uint8             `json:"age"`
		Home    *address          `json:"home"`
		Friends []*guest          `json:"friends"`
		Tags    map[string]string `json:"tags"`
		Key     []byte            `json:"key"`
		At      time.Time         `json:"at"`
		Secret  int               `json:"-"`
	}
	var served atomic.Int32
	var s nebula.Server
	nebula.Unary(&s, "hello.greet", func(ctx context.Context, in guest) (string, error) {
		served.Add(1)
		return in.Name, nil
	})
	nebula.ClientStream(&s, "hello.sum", func(ctx context.Context, in *nebula.Reader[int]) (int, error) {
		served.Add(1)
		return 0, nil
	})
	ch := nebula.Via(serve(t, &s))
	for _, c := range []struct {
		method  string
		request any
		code    nebula.Code
		message string
	}{
		{"greet", nebula.M{"nmae": "Ada"}, nebula.InvalidArgument,
			`hello.greet has no field "nmae" (fields: name, age, home, friends, tags, key, at, Zip); did you mean "name"?`},
		{"greet", nebula.M{"friends": []nebula.M{{}, {"home": nebula.M{"zip": 1}}}}, nebula.InvalidArgument,
			`hello.greet: field "friends[1].home.zip" must be a string, not a number`},
		{"greet", nebula.M{"age": 1.5}, nebula.InvalidArgument, `hello.greet: field "age" must be an integer, not 1.5`},
		{"greet", nebula.M{"tags": nebula.M{"a": true}}, nebula.InvalidArgument,
			`hello.greet: field "tags.a" must be a string, not a boolean`},
		{"greet", nebula.M{"key": "?"}, nebula.InvalidArgument, `hello.greet: field "key" must be base64, not "?"`},
		{"gret", nebula.M{}, nebula.Unimplemented,
			`hello has no method "gret" (methods: greet, sum); did you mean "greet"?`},
	} {
		_, err := nebula.Call[string](soon(t), "hello."+c.method, c.request, ch)
		e := failure(t, err)
		expect(t, e.Message, c.message)
		expect(t, e.Code, c.code)
		expect(t, e.Fate, nebula.Unsent)
		expect(t, e.Fault, nebula.CallerFault)
	}
	expect(t, served.Load(), int32(0))
	whole := nebula.M{"NAME": "Ada", "zip": nil, "home": nil, "age": 7, "at": time.Now(), "key": []byte{1}, "tags": nil}
	name, err := nebula.Call[string](soon(t), "hello.greet", whole, ch)
	ok(t, err)
	expect(t, name, "Ada")
}

func TestProtobufTravelsAsSuchAndAsJSON(t *testing.T) {
	var s nebula.Server
	type words = *wrapperspb.StringValue
	nebula.Unary(&s, "words.Upper", func(ctx context.Context, in words) (words, error) {
		return wrapperspb.String(strings.ToUpper(in.Value)), nil
	})
	ch := nebula.Via(serve(t, &s))
	answer, err := nebula.Call[*wrapperspb.StringValue](soon(t), "words.Upper", wrapperspb.String("ada"), ch)
	ok(t, err)
	expect(t, answer.Value, "ADA")
	empty, err := nebula.Call[*wrapperspb.StringValue](soon(t), "words.Upper", &wrapperspb.StringValue{}, ch)
	ok(t, err)
	expect(t, empty.Value, "")
	text, err := nebula.Call[string](soon(t), "words.Upper", "ada", ch) // proto3's JSON of a StringValue
	ok(t, err)
	expect(t, text, "ADA")
	answer, err = nebula.Call[*wrapperspb.StringValue](soon(t), "words.Upper", "ada", ch)
	ok(t, err)
	expect(t, answer.Value, "ADA")
	_, err = nebula.Call[string](soon(t), "words.Upper", wrapperspb.String("ada"), ch)
	expect(t, failure(t, err).Code, nebula.InvalidArgument)
	_, err = nebula.Call[*wrapperspb.StringValue](soon(t), "words.Upper", []byte{0xff}, ch)
	expect(t, failure(t, err).Code, nebula.InvalidArgument)
}

func TestAMethodRefusesACodecThatIsNotItsOwn(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "hello.greet", greet)
	ch := nebula.Via(serve(t, &s))
	_, err := nebula.Call[*wrapperspb.StringValue](soon(t), "hello.greet", wrapperspb.String("x"), ch)
	e := failure(t, err)
	expect(t, e.Code, nebula.Unimplemented)
	expect(t, e.Message, "hello.greet accepts application/grpc+json, not application/grpc+proto")
}

func TestBytesAndEveryOtherValue(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "echo.bytes", func(ctx context.Context, in []byte) ([]byte, error) { return in, nil })
	nebula.Unary(&s, "echo.any", func(ctx context.Context, in any) (any, error) { return in, nil })
	type value = *structpb.Value
	nebula.Unary(&s, "echo.value", func(ctx context.Context, in value) (value, error) { return in, nil })
	ch := nebula.Via(serve(t, &s))
	for _, size := range []int{0, 1, 128, 70_000, 3 << 20} {
		bytes, err := nebula.Call[[]byte](soon(t), "echo.bytes", make([]byte, size), ch)
		ok(t, err)
		expect(t, len(bytes), size)
	}
	for _, value := range []any{"ÄÖ☃\x00𝄞", 1.5, true, nil, []any{1.0, "a"}} {
		for _, method := range []string{"echo.any", "echo.value"} {
			answer, err := nebula.Call[any](soon(t), method, value, ch)
			ok(t, err)
			expect(t, answer, value)
		}
	}
}

func TestWhatCannotBeServedFailsTheStart(t *testing.T) {
	empty := func(ctx context.Context, in Person) (string, error) { return "", nil }
	for name, prepare := range map[string]func(*nebula.Server){
		"malformed": func(s *nebula.Server) { nebula.Unary(s, "nodot", empty) },
		"taken":     func(s *nebula.Server) { nebula.Unary(s, "a.b", empty); nebula.Unary(s, "a.b", empty) },
		"mixed": func(s *nebula.Server) {
			nebula.Unary(s, "a.b", func(context.Context, *wrapperspb.StringValue) (string, error) { return "", nil })
		},
		"address": func(s *nebula.Server) { nebula.Unary(s, "a.b", empty); s.Addresses = []string{"ftp://x"} },
		"no TLS": func(s *nebula.Server) {
			nebula.Unary(s, "a.b", empty)
			s.Addresses = []string{"tls://127.0.0.1:0"}
		},
		"nothing": func(s *nebula.Server) {},
	} {
		var s nebula.Server
		prepare(&s)
		if err := s.Start(); err == nil {
			s.Close()
			t.Error(name, "is not refused")
		}
	}
	var s nebula.Server
	nebula.Unary(&s, "a.b", empty)
	serve(t, &s)
	if err := s.Start(); err == nil {
		t.Error("a second start is not refused")
	}
	taken := nebula.Server{Addresses: s.URLs()}
	nebula.Unary(&taken, "a.b", empty)
	if err := taken.Start(); err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(s.URLs()[0], "tcp://")) {
		t.Error("an address that is taken is not named:", err)
	}
}

func TestEachKindOfAddress(t *testing.T) {
	folder, err := os.MkdirTemp("/tmp", "neb-")
	ok(t, err)
	defer os.RemoveAll(folder)
	for _, address := range []string{"tcp://127.0.0.1:0", "unix:" + folder + "/s", "mem:go-test"} {
		s := nebula.Server{Addresses: []string{address}}
		nebula.Unary(&s, "hello.greet", greet)
		greeting, err := nebula.Call[string](soon(t), "hello.greet", nebula.M{"name": "Ada"}, nebula.Via(serve(t, &s)))
		ok(t, err)
		expect(t, greeting, "Hello Ada!")
	}
	_, err = nebula.Dial("gopher://x", nil)
	if err == nil || !strings.Contains(err.Error(), "gopher") {
		t.Fatal(err)
	}
}

func TestAChannelHasAPolicyAndAMistakeInItSaysWhatThereIs(t *testing.T) {
	var s nebula.Server
	s.Addresses = []string{"tcp://127.0.0.1:0"}
	nebula.Unary(&s, "slow.hold", func(ctx context.Context, in nebula.M) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	serve(t, &s)
	ch, err := nebula.Dial(s.URLs()[0], &nebula.ChannelOptions{Policy: "deadline:?default=20ms"})
	ok(t, err)
	t.Cleanup(ch.Close)
	_, err = nebula.Call[string](context.Background(), "slow.hold", nebula.M{}, nebula.Via(ch))
	expect(t, failure(t, err).Code, nebula.DeadlineExceeded)
	_, err = nebula.Dial("nebula:", &nebula.ChannelOptions{Policy: "balancr=p2c:"})
	if err == nil || !strings.Contains(err.Error(), "balancr") || !strings.Contains(err.Error(), "balancer") {
		t.Fatal(err)
	}
}

func TestBothSidesOfACallAreCounted(t *testing.T) {
	var s nebula.Server
	nebula.Unary(&s, "counted.greet", greet)
	ch := serve(t, &s)
	for i := 0; i < 3; i++ {
		_, err := nebula.Call[string](soon(t), "counted.greet", Person{Name: "Ada"}, nebula.Via(ch))
		ok(t, err)
	}
	report, err := nebula.ReadMetrics(soon(t))
	ok(t, err)
	point := func(name string, is func(nebula.MetricPoint) bool) nebula.MetricPoint {
		for _, metric := range report.Metrics {
			for _, point := range metric.Points {
				if metric.Name == name && point.Method == "counted/greet" && is(point) {
					return point
				}
			}
		}
		t.Fatal("there is no " + name)
		panic(nil)
	}
	url := s.URLs()[0]
	started := point("nebula.client.call.started", func(p nebula.MetricPoint) bool { return p.Target == url })
	expect(t, started.Value, uint64(3))
	served := point("grpc.server.call.duration", func(p nebula.MetricPoint) bool { return p.Status == "OK" })
	expect(t, served.Histogram.Count, uint64(3))
	expect(t, len(served.Histogram.Buckets), len(report.Bounds)+1)
	for _, channel := range report.Channels {
		if channel.Target == url && channel.Nodes[0].State == "usable" {
			return
		}
	}
	t.Fatalf("the channel is not among %v", report.Channels)
}

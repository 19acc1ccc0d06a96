// go/case.go - cases as they come, and results as they go.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"example.org/nebula"
	pb "example.org/nebula/conformance/conformancepb"
)

type testCase struct {
	Name, Method, Codec, Compression, Cancel, Drop, Recall string

	Asks         []json.RawMessage
	Metadata     []pair
	TimeoutMs    int  `json:"timeout_ms"`
	PauseMs      int  `json:"pause_ms"`
	AtOnce       int  `json:"at_once"`
	WaitForReady bool `json:"wait_for_ready"`
	KeepOpen     bool `json:"keep_open"`
	SendAfterEnd bool `json:"send_after_end"`
	Idempotent   bool
	Pingpong     bool
	Read, Times  int
}

// pair of metadata: Text, or Data if the name ends in -bin.
type pair struct {
	Name string  `json:"name"`
	Text *string `json:"text,omitempty"`
	Data *[]byte `json:"data,omitempty"`
}

// result is what came of a case.
type result struct {
	err               error // nil: it went well
	answers           []any // as they are shown: of many only the first and the last
	count, sent       int
	isDropped         bool
	headers, trailers nebula.Metadata
	took              time.Duration
	late              string
}

// So many answers are shown at most.
const shownMax = 20

func call(target string) error {
	channel, err := nebula.Dial(target, nil)
	if err != nil {
		return err
	}
	defer channel.Close()
	cases, results := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var c testCase
		if err := cases.Decode(&c); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := results.Encode(c.report(channel)); err != nil {
			return err
		}
	}
}

func (c *testCase) report(channel *nebula.Channel) (report nebula.M) {
	defer func() {
		if reason := recover(); reason != nil {
			report = nebula.M{"name": c.Name, "broken": fmt.Sprint(reason)}
		}
	}()
	if c.Times > 0 {
		report = nebula.M{"codes": c.many(channel)}
	} else {
		report = c.once(channel).report()
	}
	if c.Recall != "" {
		report["record"] = recall(channel, c.Recall)
	}
	report["name"] = c.Name
	return report
}

// many runs the case as often as it says, and counts the codes.
func (c *testCase) many(channel *nebula.Channel) map[string]int {
	codes, left := map[string]int{}, int64(c.Times)
	var lock sync.Mutex
	var done sync.WaitGroup
	var broken any
	for i := 0; i == 0 || i < c.AtOnce; i++ {
		done.Add(1)
		go func() {
			defer done.Done()
			defer func() {
				if reason := recover(); reason != nil {
					broken = reason
				}
			}()
			for atomic.AddInt64(&left, -1) >= 0 {
				code := strconv.Itoa(int(nebula.CodeOf(c.once(channel).err)))
				lock.Lock()
				codes[code]++
				lock.Unlock()
			}
		}()
	}
	done.Wait()
	if broken != nil {
		panic(broken)
	}
	return codes
}

func (c *testCase) once(channel *nebula.Channel) *result {
	if c.Codec == "json" {
		return (&attempt[nebula.M, nebula.M]{testCase: c, parse: parseMap, show: showMap}).run(channel)
	}
	return (&attempt[*pb.Ask, *pb.Answer]{testCase: c, parse: parseAsk, show: showAnswer}).run(channel)
}

func (r *result) add(answer any) {
	r.count++
	if r.count > shownMax {
		r.answers = r.answers[:1]
	}
	r.answers = append(r.answers, answer)
}

func (r *result) report() nebula.M {
	report := nebula.M{
		"answers": r.answers, "count": r.count, "sent": r.sent, "headers": pairsOf(r.headers),
		"trailers": pairsOf(r.trailers), "took_ms": r.took.Seconds() * 1000,
	}
	if !r.isDropped { // else nobody is there to hear of it
		report["code"] = nebula.CodeOf(r.err)
	}
	var failure *nebula.Error
	if errors.As(r.err, &failure) {
		report["message"], report["trailers"] = failure.Message, pairsOf(failure.Trailers)
		report["fate"], report["fault"] = failure.Fate.String(), failure.Fault.String()
	} else if r.err != nil {
		panic(r.err) // a call that fails gives an Error
	}
	if r.late != "" {
		report["late"] = r.late
	}
	return report
}

// ---- messages and metadata ----------------------------------------------------------------------------------------

func parseAsk(text []byte) (*pb.Ask, error) {
	ask := &pb.Ask{}
	return ask, protojson.Unmarshal(text, ask)
}

func showAnswer(answer *pb.Answer) any {
	text, err := protojson.Marshal(answer)
	if err != nil {
		panic(err)
	}
	return json.RawMessage(text)
}

func parseMap(text []byte) (ask nebula.M, err error) {
	return ask, json.Unmarshal(text, &ask)
}

func showMap(answer nebula.M) any { return answer }

// namesAndValues is how the binding takes metadata.
func namesAndValues(pairs []pair) []string {
	var flat []string
	for _, p := range pairs {
		if p.Data != nil {
			flat = append(flat, p.Name, string(*p.Data))
		} else {
			flat = append(flat, p.Name, *p.Text)
		}
	}
	return flat
}

func pairsOf(m nebula.Metadata) []pair {
	pairs := []pair{}
	for _, each := range m {
		text, data := each.Value, []byte(each.Value)
		if !strings.HasPrefix(each.Name, "x-") {
			continue
		} else if strings.HasSuffix(each.Name, "-bin") {
			pairs = append(pairs, pair{Name: each.Name, Data: &data})
		} else {
			pairs = append(pairs, pair{Name: each.Name, Text: &text})
		}
	}
	return pairs
}

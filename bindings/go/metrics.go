// metrics.go - what this process counts of its calls, and its channels and instances as they are.
package nebula

import (
	"context"
	"encoding/json"
	"fmt"
)

// Metrics is a report of this process: the messages of proto/nebula/v1/admin.proto. docs/metrics.md has the names.
type Metrics struct {
	Bounds   []float64 `json:"bounds"` // upper ones of the buckets of all histograms, in seconds; one more is for what took longer
	Metrics  []Metric  `json:"metrics"`
	Channels []ChannelState
}

// Metric is the values of one name.
type Metric struct {
	Name   string        `json:"name"`
	Unit   string        `json:"unit"`
	Points []MetricPoint `json:"points"`
}

// MetricPoint is one value of a metric. What makes no difference for the metric is empty.
type MetricPoint struct {
	Target    string     `json:"target"`
	Method    string     `json:"method"`
	Status    string     `json:"status"`
	Node      string     `json:"node"`
	Value     uint64     `json:"value"`
	Histogram *Histogram `json:"histogram"`
}

// Histogram is how long things took, in seconds.
type Histogram struct {
	Count   uint64   `json:"count"`
	Sum     float64  `json:"sum"`
	Buckets []uint64 `json:"buckets"` // each alone; empty where only count and sum are kept
}

// ChannelState is a channel of one port, with its instances.
type ChannelState struct {
	Target  string      `json:"target"`
	Loop    int         `json:"loop"`
	Trouble string      `json:"trouble"` // of the registry
	Waiting int         `json:"waiting"` // calls that no instance has at the moment
	Nodes   []NodeState `json:"nodes"`
}

// NodeState is one instance, as a channel sees it.
type NodeState struct {
	ID          string  `json:"id"`
	Address     string  `json:"address"`
	State       string  `json:"state"` // "usable", or what is in the way
	Zone        string  `json:"zone"`
	Trouble     string  `json:"trouble"` // why it could not be reached the last time
	Weight      int     `json:"weight"`
	InFlight    int     `json:"in_flight"`
	Latency     float64 `json:"latency"` // seconds, as the balancer sees it; 0: not known
	Picks       uint64  `json:"picks"`
	Attempts    uint64  `json:"attempts"`
	Failures    uint64  `json:"failures"`
	Isolations  uint64  `json:"isolations"`
	Ejections   uint64  `json:"ejections"`
	ConnectTime float64 `json:"connect_time"` // seconds, of the last connection
	Description string  `json:"description"`  // digest of its methods and their messages; "": it has said none
}

// ReadMetrics asks for what this process has counted since its first call, on all of its threads.
func ReadMetrics(ctx context.Context) (*Metrics, error) {
	if err := open(); err != nil {
		return nil, err
	}
	p, tag, answer := anyPort(), newTag(), make(metricsAnswer, 1)
	p.know(tag, answer)
	defer p.forget(tag)
	if err := p.queue.metrics(process.engine, tag); err != nil {
		return nil, err
	}
	select {
	case data := <-answer:
		return parseMetrics(data)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type metricsAnswer chan []byte

func (a metricsAnswer) receive(_ *port, e event) { a <- e.data }

func parseMetrics(data []byte) (*Metrics, error) {
	report := struct {
		Metrics  *Metrics
		Channels struct{ Channels []ChannelState }
	}{Metrics: &Metrics{}}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, fmt.Errorf("nebula: the engine's report: %w", err)
	}
	report.Metrics.Channels = report.Channels.Channels
	return report.Metrics, nil
}

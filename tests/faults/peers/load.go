// peers/load.go - calls of grpc-go at a steady rate, a line for each that has ended, as those of go/load.go.
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

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds" // which has outlier detection
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// What gRPC's own documents recommend: round robin, outlier detection with the numbers of gRFC A50, but among three nodes
// already; and retries of what is UNAVAILABLE, for all calls, since it cannot say which of them may be. Without a throttle: a
// third of all calls fails here at first, which would use it up.
const serviceConfig = `{
  "loadBalancingConfig": [{"outlier_detection_experimental": {
    "interval": "10s", "baseEjectionTime": "30s", "maxEjectionTime": "300s", "maxEjectionPercent": 10,
    "successRateEjection": {"minimumHosts": 3, "requestVolume": 100},
    "failurePercentageEjection": {"threshold": 85, "enforcementPercentage": 100, "minimumHosts": 3, "requestVolume": 50},
    "childPolicy": [{"round_robin": {}}]}}],
  "methodConfig": [{"name": [{}], "retryPolicy": {
    "maxAttempts": 3, "initialBackoff": "0.02s", "maxBackoff": "1s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]
}`

// What is in the column of codes of a call that was answered with something else than it asked for.
const wrongAnswer = -1

type loader struct {
	name    string
	timeout time.Duration
	channel *grpc.ClientConn

	lock sync.Mutex
	log  *bufio.Writer
}

func load(name, log string, rate int, timeout time.Duration) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	channel, err := grpc.NewClient(os.Getenv("FAULTS_TARGET"), grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	l := &loader{name: name, timeout: timeout, channel: channel, log: bufio.NewWriterSize(file, 1<<20)}
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
			open.Go(func() { l.call(fmt.Sprintf("%s-%d", l.name, i)) })
		}
	}
}

func (l *loader) call(key string) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	began := time.Now()
	var answer wrapperspb.StringValue
	err := l.channel.Invoke(ctx, "/faults/work", wrapperspb.String(key), &answer)
	took, code, instance := time.Since(began), int(status.Code(err)), "-"
	if err == nil {
		var echoed string
		if instance, echoed, _ = strings.Cut(answer.Value, " "); echoed != key {
			code = wrongAnswer
		}
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	fmt.Fprintf(l.log, "i %s %d %d %d - %s\n", key, began.UnixMicro(), took.Microseconds(), code, instance)
}

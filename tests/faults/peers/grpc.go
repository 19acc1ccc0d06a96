// peers/grpc.go - grpc-go, as its documents recommend; it ends by GracefulStop.
package main

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	_ "google.golang.org/grpc/xds" // which has outlier detection
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Round robin, outlier detection with the numbers of gRFC A50, but among three nodes already; and retries of what is
// UNAVAILABLE, for all calls, since it cannot say which of them may be. Without a throttle: a third of all calls fails
// here at first, which would use it up.
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

func serveGRPC(ctx context.Context, s *service, listener net.Listener) error {
	server := grpc.NewServer()
	work := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var key wrapperspb.StringValue
		if err := decode(&key); err != nil {
			return nil, err
		}
		answer, err := s.work(key.Value)
		if err != nil {
			return nil, status.Error(codes.Unavailable, err.Error())
		}
		return wrapperspb.String(answer), nil
	}
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "faults", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{MethodName: "work", Handler: work}},
	}, s)
	ended := make(chan struct{})
	go func() {
		<-ctx.Done()
		server.GracefulStop()
		close(ended)
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); err != nil {
		return err
	}
	<-ended
	return nil
}

func dialGRPC(target string) (call, error) {
	channel, err := grpc.NewClient(target, grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	return func(ctx context.Context, key string) (string, int) {
		var answer wrapperspb.StringValue
		err := channel.Invoke(ctx, "/faults/work", wrapperspb.String(key), &answer)
		return answer.Value, int(status.Code(err))
	}, err
}

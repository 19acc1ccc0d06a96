// peers_test.go - stock gRPC in Go as the peer, as client and as server; Python as the peer by name.
//
// A module of its own, so that who uses the package need not have gRPC.
package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	reflection "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"example.org/nebula"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	registry, err := os.MkdirTemp("/tmp", "neb-")
	if err != nil {
		panic(err)
	}
	os.Setenv("NEBULA_REGISTRY", "host:?dir="+registry)
	code := m.Run()
	os.RemoveAll(registry)
	os.Exit(code)
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func payload(size int) *pb.Payload { return &pb.Payload{Body: make([]byte, size)} }

// gRPC sends each of them in a frame of its own. What they cost beside their bytes is more than is handed out ahead.
const small = 20_000

func manyAnswers() (request *pb.StreamingOutputCallRequest, sizes []int) {
	for i := 0; i < 100; i++ {
		sizes = append(sizes, i*100)
	}
	for i := 0; i < small; i++ {
		sizes = append(sizes, i%10)
	}
	request = &pb.StreamingOutputCallRequest{}
	for _, size := range sizes {
		request.ResponseParameters = append(request.ResponseParameters, &pb.ResponseParameters{Size: int32(size)})
	}
	return request, sizes
}

// ---- Nebula's client, gRPC's server -------------------------------------------------------------------------------

// stock is gRPC's own server of its interoperability service.
type stock struct {
	pb.UnimplementedTestServiceServer
	cancelled chan error
}

func (stock) UnaryCall(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	m, _ := metadata.FromIncomingContext(ctx)
	all := func(name string) string { return strings.Join(m[name], "+") }
	grpc.SetHeader(ctx, metadata.Pairs("first", all("first"), "raw-bin", all("raw-bin")))
	grpc.SetTrailer(ctx, metadata.Pairs("last", "1"))
	if s := in.GetResponseStatus(); s.GetCode() != 0 {
		return nil, status.Error(codes.Code(s.Code), s.Message)
	}
	return &pb.SimpleResponse{Payload: payload(int(in.ResponseSize))}, nil
}

func (stock) StreamingOutputCall(
	in *pb.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[pb.StreamingOutputCallResponse],
) error {
	for _, p := range in.ResponseParameters {
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: payload(int(p.Size))}); err != nil {
			return err
		}
	}
	return nil
}

func (stock) StreamingInputCall(
	stream grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse],
) error {
	sum := 0
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)})
		} else if err != nil {
			return err
		}
		sum += len(in.GetPayload().GetBody())
	}
}

func (s stock) FullDuplexCall(
	stream grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse],
) error {
	for {
		in, err := stream.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			s.cancelled <- stream.Context().Err()
			return err
		}
		size := len(in.GetPayload().GetBody())
		if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: payload(size)}); err != nil {
			return err
		}
	}
}

func stockServer(t *testing.T) (stock, *nebula.Channel) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ok(t, err)
	server, service := grpc.NewServer(), stock{cancelled: make(chan error, 1)}
	pb.RegisterTestServiceServer(server, service)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	channel, err := nebula.Dial("tcp://"+listener.Addr().String(), nil)
	ok(t, err)
	t.Cleanup(channel.Close)
	return service, channel
}

const service = "grpc.testing.TestService"

func TestUnaryCallsOfAStockServer(t *testing.T) {
	_, channel := stockServer(t)
	ctx := nebula.WithMetadata(soon(t), "first", "1", "raw-bin", "\x00\xff")
	var headers, trailers nebula.Metadata
	for _, size := range []int32{0, 1, 100_000} {
		answer, err := nebula.Call[*pb.SimpleResponse](ctx, service+".UnaryCall", &pb.SimpleRequest{ResponseSize: size},
			nebula.Via(channel), nebula.Headers(&headers), nebula.Trailers(&trailers), nebula.Compress(nebula.Gzip))
		ok(t, err)
		expect(t, len(answer.Payload.Body), int(size))
		expect(t, headers.Get("first"), "1")
		expect(t, headers.Get("raw-bin"), "\x00\xff")
		expect(t, trailers.Get("last"), "1")
	}
	_, err := nebula.Call[*pb.SimpleResponse](ctx, service+".UnaryCall",
		&pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 9, Message: "not now: ☃"}}, nebula.Via(channel))
	var e *nebula.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	expect(t, e.Code, nebula.FailedPrecondition)
	expect(t, e.Message, "not now: ☃")
	expect(t, e.Fate, nebula.Processed)
	expect(t, e.Trailers.Get("last"), "1")
	_, err = nebula.Call[*pb.Empty](ctx, service+".UnimplementedCall", &pb.Empty{}, nebula.Via(channel))
	expect(t, nebula.CodeOf(err), nebula.Unimplemented)
}

func TestStreamsOfAStockServer(t *testing.T) {
	served, channel := stockServer(t)
	via := nebula.Via(channel)
	many, sizes := manyAnswers()
	answers, err := nebula.CallServerStream[*pb.StreamingOutputCallResponse](
		soon(t), service+".StreamingOutputCall", many, via)
	ok(t, err)
	for _, size := range sizes {
		answer, err := answers.Recv()
		ok(t, err)
		expect(t, len(answer.GetPayload().GetBody()), size)
	}
	_, err = answers.Recv()
	expect(t, err, io.EOF)

	requests, err := nebula.CallClientStream[*pb.StreamingInputCallRequest, *pb.StreamingInputCallResponse](
		soon(t), service+".StreamingInputCall", via)
	ok(t, err)
	for i := 0; i < 1000; i++ {
		ok(t, requests.Send(&pb.StreamingInputCallRequest{Payload: payload(1000)}))
	}
	for i := 0; i < small; i++ {
		ok(t, requests.Send(&pb.StreamingInputCallRequest{Payload: payload(1)}))
	}
	sum, err := requests.CloseAndRecv()
	ok(t, err)
	expect(t, sum.AggregatedPayloadSize, 1_000_000+small)

	ctx, cancel := context.WithCancel(soon(t))
	talk, err := nebula.CallBidi[*pb.StreamingOutputCallRequest, *pb.StreamingOutputCallResponse](
		ctx, service+".FullDuplexCall", via)
	ok(t, err)
	for i := 0; i < 100; i++ {
		ok(t, talk.Send(&pb.StreamingOutputCallRequest{Payload: payload(i)}))
		answer, err := talk.Recv()
		ok(t, err)
		expect(t, len(answer.GetPayload().GetBody()), i)
	}
	cancel()
	_, err = talk.Recv()
	expect(t, nebula.CodeOf(err), nebula.Cancelled)
	expect(t, <-served.cancelled, context.Canceled)
}

// ---- gRPC's client, Nebula's server -------------------------------------------------------------------------------

func stockClient(t *testing.T) (*grpc.ClientConn, chan error) {
	server := nebula.Server{Addresses: []string{"tcp://127.0.0.1:0"}, Compression: nebula.Gzip}
	nebula.Unary(&server, service+".UnaryCall",
		func(ctx context.Context, in *pb.SimpleRequest) (*pb.SimpleResponse, error) {
			call := nebula.IncomingCall(ctx)
			m := call.Metadata()
			if err := call.SendHeaders("first", m.Get("first"), "raw-bin", m.Get("raw-bin")); err != nil {
				return nil, err
			}
			if err := call.SetTrailers("last", "1"); err != nil {
				return nil, err
			}
			if s := in.GetResponseStatus(); s.GetCode() != 0 {
				return nil, nebula.Errorf(nebula.Code(s.Code), "%s", s.Message)
			}
			return &pb.SimpleResponse{Payload: payload(int(in.ResponseSize))}, nil
		})
	type out = *pb.StreamingOutputCallResponse
	nebula.ServerStream(&server, service+".StreamingOutputCall",
		func(ctx context.Context, in *pb.StreamingOutputCallRequest, answers *nebula.Writer[out]) error {
			for _, p := range in.ResponseParameters {
				if err := answers.Send(&pb.StreamingOutputCallResponse{Payload: payload(int(p.Size))}); err != nil {
					return err
				}
			}
			return nil
		})
	type request = *pb.StreamingInputCallRequest
	nebula.ClientStream(&server, service+".StreamingInputCall",
		func(ctx context.Context, in *nebula.Reader[request]) (*pb.StreamingInputCallResponse, error) {
			sum := 0
			for {
				each, err := in.Recv()
				if err == io.EOF {
					return &pb.StreamingInputCallResponse{AggregatedPayloadSize: int32(sum)}, nil
				} else if err != nil {
					return nil, err
				}
				sum += len(each.GetPayload().GetBody())
			}
		})
	ended := make(chan error, 1)
	nebula.Bidi(&server, service+".FullDuplexCall",
		func(ctx context.Context, stream *nebula.Stream[*pb.StreamingOutputCallRequest, out]) error {
			for {
				in, err := stream.Recv()
				if err == io.EOF {
					return nil
				} else if err != nil {
					<-ctx.Done()
					ended <- ctx.Err()
					return err
				}
				size := len(in.GetPayload().GetBody())
				if err := stream.Send(&pb.StreamingOutputCallResponse{Payload: payload(size)}); err != nil {
					return err
				}
			}
		})
	ok(t, server.Start())
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URLs()[0], "tcp://")
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	ok(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection, ended
}

func TestAStockClientsUnaryCalls(t *testing.T) {
	connection, _ := stockClient(t)
	client := pb.NewTestServiceClient(connection)
	ctx := metadata.AppendToOutgoingContext(soon(t), "first", "1", "raw-bin", "\x00\xff")
	var headers, trailers metadata.MD
	for _, size := range []int32{0, 1, 100_000} {
		answer, err := client.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: size}, grpc.Header(&headers),
			grpc.Trailer(&trailers), grpc.UseCompressor(gzip.Name))
		ok(t, err)
		expect(t, len(answer.Payload.Body), int(size))
		expect(t, headers["first"][0], "1")
		expect(t, headers["raw-bin"][0], "\x00\xff")
		expect(t, trailers["last"][0], "1")
	}
	_, err := client.UnaryCall(ctx, &pb.SimpleRequest{ResponseStatus: &pb.EchoStatus{Code: 9, Message: "not now: ☃"}})
	expect(t, status.Code(err), codes.FailedPrecondition)
	expect(t, status.Convert(err).Message(), "not now: ☃")
	_, err = client.EmptyCall(ctx, &pb.Empty{})
	expect(t, status.Code(err), codes.Unimplemented)
}

func TestAStockClientsStreams(t *testing.T) {
	connection, ended := stockClient(t)
	client := pb.NewTestServiceClient(connection)
	many, sizes := manyAnswers()
	answers, err := client.StreamingOutputCall(soon(t), many)
	ok(t, err)
	for _, size := range sizes {
		answer, err := answers.Recv()
		ok(t, err)
		expect(t, len(answer.GetPayload().GetBody()), size)
	}
	_, err = answers.Recv()
	expect(t, err, io.EOF)

	requests, err := client.StreamingInputCall(soon(t))
	ok(t, err)
	for i := 0; i < 1000; i++ {
		ok(t, requests.Send(&pb.StreamingInputCallRequest{Payload: payload(1000)}))
	}
	for i := 0; i < small; i++ {
		ok(t, requests.Send(&pb.StreamingInputCallRequest{Payload: payload(1)}))
	}
	sum, err := requests.CloseAndRecv()
	ok(t, err)
	expect(t, sum.AggregatedPayloadSize, 1_000_000+small)

	ctx, cancel := context.WithCancel(soon(t))
	talk, err := client.FullDuplexCall(ctx)
	ok(t, err)
	for i := 0; i < 100; i++ {
		ok(t, talk.Send(&pb.StreamingOutputCallRequest{Payload: payload(i)}))
		answer, err := talk.Recv()
		ok(t, err)
		expect(t, len(answer.GetPayload().GetBody()), i)
	}
	cancel()
	_, err = talk.Recv()
	expect(t, status.Code(err), codes.Canceled)
	expect(t, <-ended, context.Canceled)
}

func TestHealthAndReflectionAreServed(t *testing.T) {
	connection, _ := stockClient(t)
	question := &grpc_health_v1.HealthCheckRequest{Service: service}
	health, err := grpc_health_v1.NewHealthClient(connection).Check(soon(t), question)
	ok(t, err)
	expect(t, health.Status, grpc_health_v1.HealthCheckResponse_SERVING)
	stream, err := reflection.NewServerReflectionClient(connection).ServerReflectionInfo(soon(t))
	ok(t, err)
	ask := func(request *reflection.ServerReflectionRequest) *reflection.ServerReflectionResponse {
		ok(t, stream.Send(request))
		answer, err := stream.Recv()
		ok(t, err)
		return answer
	}
	listed := ask(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_ListServices{}}).String()
	if !strings.Contains(listed, service) {
		t.Fatal(listed)
	}
	file := ask(&reflection.ServerReflectionRequest{
		MessageRequest: &reflection.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}})
	if len(file.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Fatal(file)
	}
}

// ---- Python by name -----------------------------------------------------------------------------------------------

// python is a program of it; NEBULA_PYTHON is one that has the package, if not that of make python.
func python(t *testing.T, words ...string) *exec.Cmd {
	program := os.Getenv("NEBULA_PYTHON")
	if program == "" {
		program, _ = filepath.Abs("../../../build/venv/bin/python")
	}
	peer, err := filepath.Abs("../../../tests/bindings/python_peer.py")
	ok(t, err)
	command := exec.Command(program, append([]string{"-u", peer}, words...)...)
	command.Dir = os.TempDir() // not where the sources are
	return command
}

func TestPythonIsCalledByName(t *testing.T) {
	hello := python(t, "serve")
	ready, err := hello.StdoutPipe()
	ok(t, err)
	ok(t, hello.Start())
	t.Cleanup(func() { hello.Process.Kill(); hello.Wait() })
	_, err = ready.Read(make([]byte, 1))
	ok(t, err)

	greeting, err := nebula.Call[string](soon(t), "py-hello.greet", nebula.M{"name": "Ada"})
	ok(t, err)
	expect(t, greeting, "Hello Ada!")
	_, err = nebula.Call[string](soon(t), "py-hello.greet", nebula.M{"name": "nobody"})
	var e *nebula.Error
	if !errors.As(err, &e) || e.Code != nebula.NotFound || e.Trailers.Get("who") != "nobody" {
		t.Fatal(err)
	}
	_, err = nebula.Call[string](soon(t), "py-hello.greet", nebula.M{"nme": "Ada"})
	expect(t, fmt.Sprint(err), `INVALID_ARGUMENT: py-hello.greet has no field "nme" (fields: name); did you mean "name"?`)
	numbers, err := nebula.CallServerStream[int](soon(t), "py-hello.countdown", nebula.M{"start": 3})
	ok(t, err)
	want := 3
	for got, err := range numbers.All() {
		ok(t, err)
		expect(t, got, want)
		want--
	}
	expect(t, want, 0)
	for _, err := range numbers.All() {
		t.Fatal("there is more: ", err)
	}
	chat, err := nebula.CallBidi[string, string](soon(t), "py-hello.chat")
	ok(t, err)
	ok(t, chat.Send("Hello"))
	answer, err := chat.Recv()
	ok(t, err)
	expect(t, answer, "Hello?")
	ok(t, chat.CloseSend())
	_, err = chat.Recv()
	expect(t, err, io.EOF)
}

func TestPythonCallsByName(t *testing.T) {
	var server nebula.Server
	type person struct {
		Name string `json:"name"`
	}
	nebula.Unary(&server, "go-hello.greet", func(ctx context.Context, in person) (string, error) {
		return "Hello " + in.Name + "!", nil
	})
	nebula.ServerStream(&server, "go-hello.countdown",
		func(ctx context.Context, in struct{ Start int }, answers *nebula.Writer[int]) error {
			for ; in.Start > 0; in.Start-- {
				if err := answers.Send(in.Start); err != nil {
					return err
				}
			}
			return nil
		})
	nebula.ClientStream(&server, "go-hello.total", func(ctx context.Context, in *nebula.Reader[int]) (int, error) {
		sum := 0
		for n, err := range in.All() {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	nebula.Bidi(&server, "go-hello.chat", func(ctx context.Context, lines *nebula.Stream[string, string]) error {
		for {
			line, err := lines.Recv()
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := lines.Send(line + "?"); err != nil {
				return err
			}
		}
	})
	ok(t, server.Start())
	t.Cleanup(server.Close)
	said, err := python(t, "call", "go-hello", "name").CombinedOutput()
	if err != nil || string(said) != "all is well\n" {
		t.Fatalf("%v: %s", err, said)
	}
}

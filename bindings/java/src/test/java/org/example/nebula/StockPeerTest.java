// StockPeerTest.java - stock grpc-java as the peer, as server and as client, with gRPC's interoperability service.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import io.grpc.ClientInterceptor;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import io.grpc.reflection.v1.ServerReflectionRequest;
import io.grpc.reflection.v1.ServerReflectionResponse;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import io.grpc.testing.integration.EmptyProtos.Empty;
import io.grpc.testing.integration.Messages.EchoStatus;
import io.grpc.testing.integration.Messages.Payload;
import io.grpc.testing.integration.Messages.ResponseParameters;
import io.grpc.testing.integration.Messages.SimpleRequest;
import io.grpc.testing.integration.Messages.SimpleResponse;
import io.grpc.testing.integration.Messages.StreamingInputCallRequest;
import io.grpc.testing.integration.Messages.StreamingInputCallResponse;
import io.grpc.testing.integration.Messages.StreamingOutputCallRequest;
import io.grpc.testing.integration.Messages.StreamingOutputCallResponse;
import io.grpc.testing.integration.TestServiceGrpc;
import java.util.Iterator;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class StockPeerTest {
    private static final String SERVICE = "grpc.testing.TestService";
    private static final byte[] RAW = {0, -1};
    private static final io.grpc.Metadata.Key<String> FIRST = key("first"), LAST = key("last");
    private static final io.grpc.Metadata.Key<byte[]> RAW_BIN =
            io.grpc.Metadata.Key.of("raw-bin", io.grpc.Metadata.BINARY_BYTE_MARSHALLER);

    @RegisterExtension
    final Kit kit = new Kit();

    private static io.grpc.Metadata.Key<String> key(String name) {
        return io.grpc.Metadata.Key.of(name, io.grpc.Metadata.ASCII_STRING_MARSHALLER);
    }

    private static Payload payload(int size) {
        return Payload.newBuilder().setBody(ByteString.copyFrom(new byte[size])).build();
    }

    private static SimpleRequest ask(int size) {
        return SimpleRequest.newBuilder().setResponseSize(size).build();
    }

    private static SimpleRequest askFor(Code code, String message) {
        EchoStatus status = EchoStatus.newBuilder().setCode(code.ordinal()).setMessage(message).build();
        return SimpleRequest.newBuilder().setResponseStatus(status).build();
    }

    private static StreamingOutputCallRequest askForSizes(int count) {
        StreamingOutputCallRequest.Builder request = StreamingOutputCallRequest.newBuilder();
        for (int i = 0; i < count; i++) {
            request.addResponseParameters(ResponseParameters.newBuilder().setSize(i * 100));
        }
        return request.build();
    }

    private static StreamingOutputCallRequest talk(int size) {
        return StreamingOutputCallRequest.newBuilder().setPayload(payload(size)).build();
    }

    private static StreamingOutputCallResponse output(int size) {
        return StreamingOutputCallResponse.newBuilder().setPayload(payload(size)).build();
    }

    // ---- Nebula's client, gRPC's server -----------------------------------------------------------------------------

    /** gRPC's own server. */
    private static final class Stock extends TestServiceGrpc.TestServiceImplBase implements ServerInterceptor {
        final CountDownLatch cancelled = new CountDownLatch(1);

        /** Sends back what came as metadata. */
        @Override
        public <In, Out> ServerCall.Listener<In> interceptCall(
                ServerCall<In, Out> call, io.grpc.Metadata received, ServerCallHandler<In, Out> next) {
            io.grpc.Metadata headers = new io.grpc.Metadata(), trailers = new io.grpc.Metadata();
            if (received.containsKey(FIRST)) {
                headers.put(FIRST, received.get(FIRST));
                headers.put(RAW_BIN, received.get(RAW_BIN));
            }
            trailers.put(LAST, "1");
            return next.startCall(new io.grpc.ForwardingServerCall.SimpleForwardingServerCall<>(call) {
                @Override
                public void sendHeaders(io.grpc.Metadata own) {
                    own.merge(headers);
                    super.sendHeaders(own);
                }

                @Override
                public void close(Status status, io.grpc.Metadata own) {
                    own.merge(trailers);
                    super.close(status, own);
                }
            }, received);
        }

        @Override
        public void unaryCall(SimpleRequest in, StreamObserver<SimpleResponse> out) {
            if (in.getResponseStatus().getCode() != 0) {
                out.onError(Status.fromCodeValue(in.getResponseStatus().getCode())
                        .withDescription(in.getResponseStatus().getMessage()).asRuntimeException());
                return;
            }
            out.onNext(SimpleResponse.newBuilder().setPayload(payload(in.getResponseSize())).build());
            out.onCompleted();
        }

        @Override
        public void streamingOutputCall(
                StreamingOutputCallRequest in, StreamObserver<StreamingOutputCallResponse> out) {
            in.getResponseParametersList().forEach(each -> out.onNext(output(each.getSize())));
            out.onCompleted();
        }

        @Override
        public StreamObserver<StreamingInputCallRequest> streamingInputCall(
                StreamObserver<StreamingInputCallResponse> out) {
            return new StreamObserver<>() {
                private int sum;

                @Override
                public void onNext(StreamingInputCallRequest in) {
                    sum += in.getPayload().getBody().size();
                }

                @Override
                public void onError(Throwable failure) {}

                @Override
                public void onCompleted() {
                    out.onNext(StreamingInputCallResponse.newBuilder().setAggregatedPayloadSize(sum).build());
                    out.onCompleted();
                }
            };
        }

        @Override
        public StreamObserver<StreamingOutputCallRequest> fullDuplexCall(
                StreamObserver<StreamingOutputCallResponse> out) {
            return new StreamObserver<>() {
                @Override
                public void onNext(StreamingOutputCallRequest in) {
                    out.onNext(output(in.getPayload().getBody().size()));
                }

                @Override
                public void onError(Throwable failure) {
                    cancelled.countDown();
                }

                @Override
                public void onCompleted() {
                    out.onCompleted();
                }
            };
        }
    }

    private Client callsOf(Stock stock) throws Exception {
        io.grpc.Server server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(ServerInterceptors.intercept(stock, stock)).build().start();
        kit.ending(() -> server.shutdownNow().awaitTermination());
        return kit.connect("tcp://127.0.0.1:" + server.getPort());
    }

    @Test
    void unaryCallsOfAStockServer() throws Exception {
        AtomicReference<Metadata> headers = new AtomicReference<>(), trailers = new AtomicReference<>();
        Client client = callsOf(new Stock()).withHeaders(headers::set).withTrailers(trailers::set)
                .withMetadata(Metadata.of("first", "1").with("raw-bin", RAW)).withCompression(Compression.GZIP);
        for (int size : new int[] {0, 1, 100_000}) {
            SimpleResponse answer = client.call(SERVICE + ".UnaryCall", ask(size), SimpleResponse.class);
            assertEquals(size, answer.getPayload().getBody().size());
            assertEquals("1", headers.get().get("first"));
            assertArrayEquals(RAW, headers.get().getBytes("raw-bin"));
            assertEquals("1", trailers.get().get("last"));
        }
        NebulaException failure = Kit.failure(() -> client.call(
                SERVICE + ".UnaryCall", askFor(Code.FAILED_PRECONDITION, "not now: ☃"), SimpleResponse.class));
        assertEquals(Code.FAILED_PRECONDITION, failure.code());
        assertEquals("not now: ☃", failure.getMessage());
        assertEquals(Fate.PROCESSED, failure.fate());
        assertEquals("1", failure.trailers().get("last"));
        assertEquals(Code.UNIMPLEMENTED, Kit.failure(() -> client.call(
                SERVICE + ".UnimplementedCall", Empty.getDefaultInstance(), Empty.class)).code());
    }

    @Test
    void streamsOfAStockServer() throws Exception {
        Stock stock = new Stock();
        Client client = callsOf(stock);
        int next = 0;
        for (StreamingOutputCallResponse each : client.serverStream(
                SERVICE + ".StreamingOutputCall", askForSizes(100), StreamingOutputCallResponse.class)) {
            assertEquals(100 * next++, each.getPayload().getBody().size());
        }
        assertEquals(100, next);

        CallStream<StreamingInputCallRequest, StreamingInputCallResponse> requests = client.clientStream(
                SERVICE + ".StreamingInputCall", StreamingInputCallRequest.class, StreamingInputCallResponse.class);
        for (int i = 0; i < 1000; i++) {
            requests.send(StreamingInputCallRequest.newBuilder().setPayload(payload(1000)).build());
        }
        assertEquals(1_000_000, requests.finish().getAggregatedPayloadSize());

        CallStream<StreamingOutputCallRequest, StreamingOutputCallResponse> talk = client.bidi(
                SERVICE + ".FullDuplexCall", StreamingOutputCallRequest.class, StreamingOutputCallResponse.class);
        for (int i = 0; i < 100; i++) {
            talk.send(talk(i));
            assertEquals(i, talk.receive().getPayload().getBody().size());
        }
        talk.close();
        assertEquals(Code.CANCELLED, Kit.failure(talk::receive).code());
        Kit.await(stock.cancelled);
    }

    // ---- gRPC's client, Nebula's server -----------------------------------------------------------------------------

    private final CountDownLatch cancelled = new CountDownLatch(1);

    private Server ours() {
        return new Server(new ServerOptions().compression(Compression.GZIP))
                .unary(SERVICE + ".UnaryCall", SimpleRequest.class, SimpleResponse.class, (in, context) -> {
                    Metadata received = context.metadata();
                    if (received.get("first") != null) {
                        context.sendHeaders(Metadata.of("first", received.get("first"))
                                .with("raw-bin", received.getBytes("raw-bin")));
                    }
                    context.setTrailers(Metadata.of("last", "1"));
                    EchoStatus status = in.getResponseStatus();
                    if (status.getCode() != 0) {
                        throw new NebulaException(Code.values()[status.getCode()], status.getMessage());
                    }
                    return SimpleResponse.newBuilder().setPayload(payload(in.getResponseSize())).build();
                })
                .serverStream(SERVICE + ".StreamingOutputCall", StreamingOutputCallRequest.class,
                        StreamingOutputCallResponse.class, (in, answers, context) ->
                                in.getResponseParametersList().forEach(each -> answers.send(output(each.getSize()))))
                .clientStream(SERVICE + ".StreamingInputCall", StreamingInputCallRequest.class,
                        StreamingInputCallResponse.class, (requests, context) -> {
                            int sum = 0;
                            for (StreamingInputCallRequest each : requests) {
                                sum += each.getPayload().getBody().size();
                            }
                            return StreamingInputCallResponse.newBuilder().setAggregatedPayloadSize(sum).build();
                        })
                .bidi(SERVICE + ".FullDuplexCall", StreamingOutputCallRequest.class, StreamingOutputCallResponse.class,
                        (stream, context) -> {
                            context.onCancel(cancelled::countDown);
                            for (StreamingOutputCallRequest each : stream) {
                                stream.send(output(each.getPayload().getBody().size()));
                            }
                        });
    }

    private ManagedChannel stockChannelTo(Server server) {
        kit.serve(server);
        String address = server.urls().get(0).substring("tcp://".length());
        ManagedChannel channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
        kit.ending(() -> channel.shutdownNow().awaitTermination(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS));
        return channel;
    }

    @Test
    void aStockClientsUnaryCalls() {
        io.grpc.Metadata metadata = new io.grpc.Metadata();
        metadata.put(FIRST, "1");
        metadata.put(RAW_BIN, RAW);
        AtomicReference<io.grpc.Metadata> headers = new AtomicReference<>(), trailers = new AtomicReference<>();
        ClientInterceptor[] both = {
            MetadataUtils.newAttachHeadersInterceptor(metadata),
            MetadataUtils.newCaptureMetadataInterceptor(headers, trailers)};
        TestServiceGrpc.TestServiceBlockingStub client =
                TestServiceGrpc.newBlockingStub(stockChannelTo(ours())).withInterceptors(both).withCompression("gzip");
        for (int size : new int[] {0, 1, 100_000}) {
            assertEquals(size, client.unaryCall(ask(size)).getPayload().getBody().size());
            assertEquals("1", headers.get().get(FIRST));
            assertArrayEquals(RAW, headers.get().get(RAW_BIN));
            assertEquals("1", trailers.get().get(LAST));
        }
        Status status = assertThrows(StatusRuntimeException.class,
                () -> client.unaryCall(askFor(Code.FAILED_PRECONDITION, "not now: ☃"))).getStatus();
        assertEquals(Status.Code.FAILED_PRECONDITION, status.getCode());
        assertEquals("not now: ☃", status.getDescription());
        status = assertThrows(StatusRuntimeException.class,
                () -> client.emptyCall(Empty.getDefaultInstance())).getStatus();
        assertEquals(Status.Code.UNIMPLEMENTED, status.getCode());
    }

    /** What a stock client has got; an error is the last of it. */
    private static final class Got<T> implements StreamObserver<T> {
        final BlockingQueue<Object> all = new LinkedBlockingQueue<>();

        @Override
        public void onNext(T message) {
            all.add(message);
        }

        @Override
        public void onError(Throwable failure) {
            all.add(Status.fromThrowable(failure).getCode());
        }

        @Override
        public void onCompleted() {
            all.add(Status.Code.OK);
        }
    }

    @Test
    void aStockClientsStreams() throws Exception {
        ManagedChannel channel = stockChannelTo(ours());
        int next = 0;
        for (Iterator<StreamingOutputCallResponse> each =
                TestServiceGrpc.newBlockingStub(channel).streamingOutputCall(askForSizes(100)); each.hasNext();) {
            assertEquals(100 * next++, each.next().getPayload().getBody().size());
        }
        assertEquals(100, next);

        TestServiceGrpc.TestServiceStub client = TestServiceGrpc.newStub(channel);
        Got<StreamingInputCallResponse> sum = new Got<>();
        StreamObserver<StreamingInputCallRequest> requests = client.streamingInputCall(sum);
        for (int i = 0; i < 1000; i++) {
            requests.onNext(StreamingInputCallRequest.newBuilder().setPayload(payload(1000)).build());
        }
        requests.onCompleted();
        assertEquals(1_000_000, ((StreamingInputCallResponse) Kit.take(sum.all)).getAggregatedPayloadSize());
        assertEquals(Status.Code.OK, Kit.take(sum.all));

        Got<StreamingOutputCallResponse> heard = new Got<>();
        StreamObserver<StreamingOutputCallRequest> talk = client.fullDuplexCall(heard);
        for (int i = 0; i < 100; i++) {
            talk.onNext(talk(i));
            assertEquals(i, ((StreamingOutputCallResponse) Kit.take(heard.all)).getPayload().getBody().size());
        }
        talk.onError(Status.CANCELLED.asRuntimeException());
        assertEquals(Status.Code.CANCELLED, Kit.take(heard.all));
        Kit.await(cancelled);
    }

    @Test
    void healthAndReflectionAreServed() throws Exception {
        Server server = ours();
        ManagedChannel channel = stockChannelTo(server);
        HealthGrpc.HealthBlockingStub health = HealthGrpc.newBlockingStub(channel);
        HealthCheckRequest question = HealthCheckRequest.newBuilder().setService(SERVICE).build();
        assertEquals(ServingStatus.SERVING, health.check(question).getStatus());
        server.setHealth(SERVICE, false);
        Kit.eventually("it says so", () -> health.check(question).getStatus() == ServingStatus.NOT_SERVING);

        Got<ServerReflectionResponse> told = new Got<>();
        StreamObserver<ServerReflectionRequest> ask = ServerReflectionGrpc.newStub(channel).serverReflectionInfo(told);
        ask.onNext(ServerReflectionRequest.newBuilder().setListServices("").build());
        String services = Kit.take(told.all).toString();
        assertTrue(services.contains(SERVICE), services);
        ask.onNext(ServerReflectionRequest.newBuilder().setFileContainingSymbol(
                "grpc.testing.SimpleRequest").build());
        ServerReflectionResponse file = (ServerReflectionResponse) Kit.take(told.all);
        assertTrue(file.getFileDescriptorResponse().getFileDescriptorProtoCount() > 0, file.toString());
        ask.onCompleted();
        assertEquals(Status.Code.OK, Kit.take(told.all));
    }
}

// Load.java - Nebula and grpc-java: serves, or loads.
//
// usage: Load serve <library> | load <library> <host:port> <case> <seconds>
//        library: nebula, grpc
import com.google.protobuf.ByteString;
import com.google.protobuf.BytesValue;
import com.google.protobuf.Int64Value;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.protobuf.ProtoUtils;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.util.Arrays;
import java.util.Iterator;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.example.nebula.CallStream;
import org.example.nebula.Client;
import org.example.nebula.Nebula;
import org.example.nebula.Server;

public final class Load {
    private static final int IN_FLIGHT = 64;
    private static final long STREAM = 2_000;
    private static final BytesValue MESSAGE = BytesValue.of(ByteString.copyFrom(new byte[124])); // 128 bytes on the wire

    /** What a load does: a call that is answered in time, or a stream that is read to its end. */
    private record Caller(Supplier<CompletableFuture<BytesValue>> unary, Runnable stream, Runnable close) {}

    public static void main(String[] words) throws Exception {
        boolean isNebula = words[1].equals("nebula");
        if (words[0].equals("serve")) {
            if (isNebula) {
                serveNebula();
            } else {
                serveGrpc();
            }
            return;
        }
        Caller caller = isNebula ? nebulaCaller(words[2]) : grpcCaller(words[2]);
        load(caller, words[3], Double.parseDouble(words[4]));
        caller.close.run();
    }

    private static void untilInputEnds() throws Exception {
        while (System.in.read() >= 0) {
        }
    }

    // ---- Nebula

    private static void serveNebula() throws Exception {
        try (Server server = new Server().listen("tcp://127.0.0.1:0")
                .async("bench.Load.Unary", BytesValue.class, BytesValue.class,
                        (in, context) -> CompletableFuture.completedFuture(in))
                .serverStream("bench.Load.Count", Int64Value.class, Int64Value.class, (until, answers, context) -> {
                    for (long number = 0; number < until.getValue(); number++) {
                        answers.send(Int64Value.of(number));
                    }
                }).start()) {
            System.out.println(server.urls().get(0).replace("tcp://", ""));
            untilInputEnds();
        }
    }

    private static Caller nebulaCaller(String address) {
        org.example.nebula.Channel channel = Nebula.connect("tcp://" + address);
        Client client = channel.client();
        return new Caller(
                () -> client.callAsync("bench.Load.Unary", MESSAGE, BytesValue.class),
                () -> {
                    CallStream<Void, Int64Value> numbers =
                            client.serverStream("bench.Load.Count", Int64Value.of(STREAM), Int64Value.class);
                    for (Int64Value ignored : numbers) {
                    }
                },
                channel::close);
    }

    // ---- grpc-java, as its generated code does it

    private static final MethodDescriptor<BytesValue, BytesValue> UNARY =
            method(MethodDescriptor.MethodType.UNARY, "Unary", BytesValue.getDefaultInstance());
    private static final MethodDescriptor<Int64Value, Int64Value> COUNT =
            method(MethodDescriptor.MethodType.SERVER_STREAMING, "Count", Int64Value.getDefaultInstance());

    private static <T extends com.google.protobuf.Message> MethodDescriptor<T, T> method(
            MethodDescriptor.MethodType type, String name, T message) {
        return MethodDescriptor.<T, T>newBuilder().setType(type)
                .setFullMethodName(MethodDescriptor.generateFullMethodName("bench.Load", name))
                .setRequestMarshaller(ProtoUtils.marshaller(message))
                .setResponseMarshaller(ProtoUtils.marshaller(message)).build();
    }

    /** Sends while the caller reads: on ready, as grpc-java's own guide to flow control has it. */
    private static void count(Int64Value until, StreamObserver<Int64Value> answers) {
        ServerCallStreamObserver<Int64Value> out = (ServerCallStreamObserver<Int64Value>) answers;
        long[] next = {0};
        out.setOnReadyHandler(() -> {
            while (out.isReady() && next[0] < until.getValue()) {
                out.onNext(Int64Value.of(next[0]++));
                if (next[0] == until.getValue()) {
                    out.onCompleted();
                }
            }
        });
    }

    private static void serveGrpc() throws Exception {
        io.grpc.Server server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(ServerServiceDefinition.builder("bench.Load")
                        .addMethod(UNARY, ServerCalls.asyncUnaryCall((in, answer) -> {
                            answer.onNext(in);
                            answer.onCompleted();
                        }))
                        .addMethod(COUNT, ServerCalls.asyncServerStreamingCall(Load::count)).build())
                .build().start();
        System.out.println("127.0.0.1:" + server.getPort());
        untilInputEnds();
        server.shutdownNow();
    }

    /** Completes a future with the one answer of a call. */
    private static final class Answer extends CompletableFuture<BytesValue> implements StreamObserver<BytesValue> {
        @Override
        public void onNext(BytesValue value) {
            complete(value);
        }

        @Override
        public void onError(Throwable failure) {
            completeExceptionally(failure);
        }

        @Override
        public void onCompleted() {}
    }

    private static Caller grpcCaller(String address) {
        ManagedChannel channel = Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
        return new Caller(
                () -> {
                    Answer answer = new Answer();
                    ClientCalls.asyncUnaryCall(channel.newCall(UNARY, io.grpc.CallOptions.DEFAULT), MESSAGE, answer);
                    return answer;
                },
                () -> {
                    Iterator<Int64Value> numbers = ClientCalls.blockingServerStreamingCall(
                            channel, COUNT, io.grpc.CallOptions.DEFAULT, Int64Value.of(STREAM));
                    while (numbers.hasNext()) {
                        numbers.next();
                    }
                },
                channel::shutdownNow);
    }

    // ---- load

    /** Times, in nanoseconds, of what was begun after the warm-up; from any thread. */
    private static final class Watch {
        private final long begins, ends;
        private final long[] took = new long[1 << 24];
        private final AtomicInteger count = new AtomicInteger();
        private final AtomicInteger hasBegun = new AtomicInteger();

        Watch(double seconds) {
            long length = (long) (seconds * 1e9);
            begins = System.nanoTime() + length / 3;
            ends = begins + length * 2 / 3;
        }

        boolean goesOn(long began, long now) {
            if (began >= begins) {
                took[count.getAndIncrement()] = now - began;
            } else if (now >= begins && hasBegun.getAndIncrement() == 0) {
                System.out.println("begin");
            }
            return now < ends;
        }

        void tell(long each) {
            double seconds = (System.nanoTime() - begins) / 1e9;
            long[] all = Arrays.copyOf(took, count.get());
            Arrays.sort(all);
            System.out.printf(java.util.Locale.ROOT, "{\"count\": %d, \"seconds\": %.6f, \"p50_us\": %.3f}%n",
                    all.length * each, seconds, all[all.length / 2] / 1e3);
        }
    }

    /** One call after the other; each begins where the last one was answered. */
    private static void repeat(Caller caller, Watch watch, CountDownLatch done) {
        long began = System.nanoTime();
        caller.unary.get().whenComplete((answer, failure) -> {
            if (failure != null) {
                failure.printStackTrace();
                System.exit(1);
            }
            if (watch.goesOn(began, System.nanoTime())) {
                repeat(caller, watch, done);
            } else {
                done.countDown();
            }
        });
    }

    private static void load(Caller caller, String name, double seconds) throws Exception {
        Watch watch = new Watch(seconds);
        if (name.equals("stream")) {
            long began, now = System.nanoTime();
            do {
                began = now;
                caller.stream.run();
                now = System.nanoTime();
            } while (watch.goesOn(began, now));
            watch.tell(STREAM);
            return;
        }
        if (name.equals("unary1")) { // as one does who waits for each answer
            long began, now = System.nanoTime();
            do {
                began = now;
                caller.unary.get().get();
                now = System.nanoTime();
            } while (watch.goesOn(began, now));
            watch.tell(1);
            return;
        }
        CountDownLatch done = new CountDownLatch(IN_FLIGHT);
        for (int i = 0; i < IN_FLIGHT; i++) {
            repeat(caller, watch, done);
        }
        done.await();
        watch.tell(1);
    }
}

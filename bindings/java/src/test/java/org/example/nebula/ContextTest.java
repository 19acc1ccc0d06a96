// ContextTest.java - deadlines, cancellation at every stage, metadata, errors and their outcomes.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class ContextTest {
    @RegisterExtension
    final Kit kit = new Kit();

    /**
     * Serves "wait.forever", "wait.stream" and "wait.deaf", whose handlers say when they begin, and when they are
     * cancelled.
     */
    private final class Waiting {
        final BlockingQueue<Boolean> entered = new LinkedBlockingQueue<>(), cancelled = new LinkedBlockingQueue<>();
        final Server server = new Server()
                .unary("wait.forever", Integer.class, Integer.class, (in, context) -> {
                    wait(context);
                    return 0;
                })
                .serverStream("wait.stream", Integer.class, Integer.class, (in, answers, context) -> {
                    answers.send(in);
                    wait(context);
                })
                .clientStream("wait.deaf", byte[].class, byte[].class, (requests, context) -> {
                    wait(context);
                    return new byte[0];
                });
        final Client client = kit.serve(server);

        private void wait(Context context) throws InterruptedException {
            CountDownLatch over = new CountDownLatch(1);
            context.onCancel(over::countDown);
            entered.add(true);
            over.await();
            cancelled.add(context.isCancelled());
        }

        /** Waits until the handler runs, and ends the call then. */
        void enteredThen(Runnable end) throws InterruptedException {
            Kit.take(entered);
            end.run();
        }

        void expectCancelled() throws InterruptedException {
            assertTrue(Kit.take(cancelled));
        }
    }

    // ---- deadlines --------------------------------------------------------------------------------------------------

    private static final Duration LONG = Duration.ofSeconds(1000);

    private static void assertLong(Duration left) {
        assertTrue(left.compareTo(LONG) <= 0 && left.compareTo(LONG.minus(Kit.PATIENCE)) > 0, left.toString());
    }

    @Test
    void aDeadlineIsTheHandlersToo() {
        Client client = kit.serve(new Server().unary("time.left", Integer.class, Long.class,
                (in, context) -> context.timeLeft().map(Duration::toMillis).orElse(null)));
        assertLong(Duration.ofMillis(client.withTimeout(LONG).call("time.left", 1, Long.class)));
        assertNull(client.withTimeout(null).call("time.left", 1, Long.class));
    }

    @Test
    void aDeadlineEndsBothSides() throws Exception {
        Waiting waiting = new Waiting();
        // Until one is long enough for the handler to begin, on whatever machine.
        for (Duration timeout = Duration.ofMillis(50);; timeout = timeout.multipliedBy(2)) {
            Client client = waiting.client.withTimeout(timeout);
            NebulaException failure = Kit.failure(() -> client.call("wait.forever", 1, Integer.class));
            assertEquals(Code.DEADLINE_EXCEEDED, failure.code());
            if (waiting.entered.poll() != null) {
                waiting.expectCancelled();
                return;
            }
        }
    }

    @Test
    void aDeadlineEndsAStream() throws Exception {
        Waiting waiting = new Waiting();
        for (Duration timeout = Duration.ofMillis(50);; timeout = timeout.multipliedBy(2)) {
            CallStream<Void, Integer> stream =
                    waiting.client.withTimeout(timeout).serverStream("wait.stream", 1, Integer.class);
            NebulaException failure = Kit.failure(() -> stream.forEach(each -> assertEquals(1, each)));
            assertEquals(Code.DEADLINE_EXCEEDED, failure.code());
            if (waiting.entered.poll() != null) {
                waiting.expectCancelled();
                return;
            }
        }
    }

    @Test
    void aDeadlineThatHasPassedIsTheShortest() {
        Waiting waiting = new Waiting();
        for (Duration none : List.of(Duration.ZERO, Duration.ofSeconds(-1), Duration.ofNanos(1))) {
            assertEquals(Code.DEADLINE_EXCEEDED, Kit.failure(
                    () -> waiting.client.withTimeout(none).call("wait.forever", 1, Integer.class)).code());
        }
    }

    // ---- what calls inherit -----------------------------------------------------------------------------------------

    @Test
    void nestedCallsInheritTheDeadline() {
        AtomicReference<Client> inner = new AtomicReference<>();
        Server server = new Server()
                .unary("inner.left", Integer.class, Long.class,
                        (in, context) -> context.timeLeft().map(Duration::toMillis).orElse(null))
                .unary("outer.left", String.class, Long.class, (how, context) -> {
                    assertEquals(context, Context.current());
                    Client client = inner.get().withTimeout(null);
                    Supplier<Long> call = () -> client.call("inner.left", 1, Long.class);
                    return switch (how) {
                        case "here" -> call.get();
                        case "longer" -> client.withTimeout(LONG.multipliedBy(9)).call("inner.left", 1, Long.class);
                        case "elsewhere" -> CompletableFuture.supplyAsync(call).get();
                        case "carried" -> CompletableFuture.supplyAsync(() -> run(context, call)).get();
                        default -> Context.detached(call::get);
                    };
                });
        inner.set(kit.serve(server));
        Client outer = inner.get().withTimeout(LONG);
        for (String how : List.of("here", "longer", "carried")) {
            assertLong(Duration.ofMillis(outer.call("outer.left", how, Long.class)));
        }
        for (String how : List.of("elsewhere", "detached")) {
            assertNull(outer.call("outer.left", how, Long.class), how);
        }
        assertNull(Context.current());
    }

    @Test
    void retriesDoNotMultiply() {
        AtomicInteger last = new AtomicInteger();
        AtomicInteger above = new AtomicInteger();
        Client below = kit.serve(new Server().unary("below.last", String.class, String.class, (in, context) -> {
            last.incrementAndGet();
            throw new NebulaException(Code.UNAVAILABLE, "not now");
        })).idempotent();
        Client client = kit.serve(new Server().unary("tree.above", String.class, String.class, (how, context) -> {
            above.incrementAndGet();
            Callable<String> call = () -> below.call("below.last", how, String.class);
            return how.equals("detached") ? Context.detached(call) : call.call();
        })).idempotent();
        for (String how : List.of("here", "detached")) {
            last.set(0);
            above.set(0);
            NebulaException failure = Kit.failure(() -> client.call("tree.above", how, String.class));
            assertEquals(Code.UNAVAILABLE, failure.code());
            assertEquals(how.equals("here") ? 3 : 9, last.get());
            assertEquals(how.equals("here") ? 1 : 3, above.get());
            assertEquals(how.equals("here") ? "-1" : null, failure.trailers().get("grpc-retry-pushback-ms"));
        }
    }

    private static Long run(Context context, Supplier<Long> call) {
        try {
            return context.run(call::get);
        } catch (Exception failed) {
            throw new AssertionError(failed);
        }
    }

    @Test
    void nestedCallsAndStreamsEndWithTheCallTheyAreMadeFor() throws Exception {
        Waiting waiting = new Waiting();
        BlockingQueue<Code> seen = new LinkedBlockingQueue<>();
        Client outer = kit.serve(new Server()
                .unary("outer.call", Integer.class, Integer.class, (in, context) -> {
                    NebulaException failure =
                            Kit.failure(() -> waiting.client.call("wait.forever", in, Integer.class));
                    seen.add(failure.code());
                    seen.add(Kit.failure(() -> waiting.client.call("wait.forever", in, Integer.class)).code());
                    throw failure;
                })
                .unary("outer.stream", Integer.class, Integer.class, (in, context) -> {
                    CallStream<Void, Integer> stream = waiting.client.serverStream("wait.stream", in, Integer.class);
                    assertEquals(in, stream.receive());
                    seen.add(Code.OK);
                    seen.add(Kit.failure(stream::receive).code());
                    return in;
                }));
        CompletableFuture<Integer> call = outer.callAsync("outer.call", 1, Integer.class);
        waiting.enteredThen(() -> call.cancel(true));
        waiting.expectCancelled();
        assertEquals(Code.CANCELLED, Kit.take(seen));
        assertEquals(Code.CANCELLED, Kit.take(seen)); // a call begun after the end does not begin

        CompletableFuture<Integer> stream = outer.callAsync("outer.stream", 1, Integer.class);
        assertEquals(Code.OK, Kit.take(seen)); // what came before the end is there
        waiting.enteredThen(() -> stream.cancel(true));
        waiting.expectCancelled();
        assertEquals(Code.CANCELLED, Kit.take(seen));
    }

    // ---- cancellation -----------------------------------------------------------------------------------------------

    @Test
    void aFutureThatIsEndedByItsUserEndsTheCall() throws Exception {
        Waiting waiting = new Waiting();
        CompletableFuture<Integer> cancelled = waiting.client.callAsync("wait.forever", 1, Integer.class);
        waiting.enteredThen(() -> cancelled.cancel(true));
        waiting.expectCancelled();
        assertThrows(CancellationException.class, cancelled::get);
        CompletableFuture<Integer> completed = waiting.client.callAsync("wait.forever", 1, Integer.class);
        waiting.enteredThen(() -> completed.complete(7));
        waiting.expectCancelled();
        assertEquals(7, completed.get());
    }

    @Test
    void anInterruptEndsACallThatWaits() throws Exception {
        Waiting waiting = new Waiting();
        BlockingQueue<Object> seen = new LinkedBlockingQueue<>();
        Thread caller = new Thread(() -> {
            seen.add(Kit.failure(() -> waiting.client.call("wait.forever", 1, Integer.class)).code());
            seen.add(Thread.currentThread().isInterrupted());
        });
        caller.start();
        waiting.enteredThen(caller::interrupt);
        assertEquals(Code.CANCELLED, Kit.take(seen));
        assertEquals(true, Kit.take(seen));
        waiting.expectCancelled();
    }

    @Test
    void aCallWithoutAnInstanceIsCancelled() {
        CompletableFuture<Integer> call = Kit.byName().waitForReady().callAsync("nobody.there", 1, Integer.class);
        assertTrue(call.cancel(true));
        assertTrue(Kit.failure(() -> Kit.byName().call("nobody.there", 1, Integer.class)).code() == Code.UNAVAILABLE);
    }

    @Test
    void aSendThatWaitsForRoomEndsWithItsCall() throws Exception {
        Waiting waiting = new Waiting();
        CallStream<byte[], byte[]> stream = waiting.client.clientStream("wait.deaf", byte[].class, byte[].class);
        CompletableFuture<Void> sending = CompletableFuture.runAsync(() -> {
            while (stream.send(new byte[100_000])) {
                continue;
            }
        });
        waiting.enteredThen(stream::close);
        assertEquals(Code.CANCELLED, Kit.failure(sending).code());
        waiting.expectCancelled();
    }

    @Test
    void theEndOfAChannelIsThatOfItsCalls() throws Exception {
        Waiting waiting = new Waiting();
        Channel channel = Nebula.connect(waiting.server.urls().get(0));
        CompletableFuture<Integer> call = channel.client().callAsync("wait.forever", 1, Integer.class);
        waiting.enteredThen(channel::close);
        assertEquals(Code.CANCELLED, Kit.failure(call).code());
        waiting.expectCancelled();
        channel.close();
        assertEquals(Code.CANCELLED, Kit.failure(() -> channel.client().call("wait.forever", 1, Integer.class)).code());
    }

    @Test
    void cancellingAfterTheEndDoesNothing() throws Exception {
        Client client = kit.serve(StreamTest.numbers().unary("a.b", Integer.class, Integer.class, (in, context) -> in));
        for (int i = 0; i < 100; i++) {
            CompletableFuture<Integer> call = client.callAsync("a.b", i, Integer.class);
            assertEquals(i, call.get());
            assertTrue(!call.cancel(true));
            CallStream<Integer, Integer> stream = client.clientStream("a.none", Integer.class, Integer.class);
            assertEquals(Code.UNIMPLEMENTED, Kit.failure(stream::receive).code());
            stream.close();
        }
    }

    // ---- metadata ---------------------------------------------------------------------------------------------------

    @Test
    void metadataGoesBothWays() {
        byte[] raw = {0, -2, -1}, more = {-3};
        Client client = kit.serve(new Server().unary("meta.echo", Integer.class, String.class, (in, context) -> {
            Metadata received = context.metadata();
            Metadata headers = Metadata.of("first", received.get("first"));
            for (byte[] value : received.allBytes("raw-bin")) {
                headers = headers.with("raw-bin", value);
            }
            context.sendHeaders(headers);
            context.setTrailers(Metadata.of("twice", String.join("+", received.all("twice"))));
            if (in < 0) {
                throw new NebulaException(Code.ABORTED, "as asked");
            }
            return context.method() + " " + context.peer();
        })).withMetadata(Metadata.of("first", "1").with("raw-bin", raw).with("raw-bin", more))
                .withMetadata("twice", "a", "twice", "b");
        AtomicReference<Metadata> headers = new AtomicReference<>(), trailers = new AtomicReference<>();
        client = client.withHeaders(headers::set).withTrailers(trailers::set);
        String answer = client.call("meta.echo", 1, String.class);
        assertTrue(answer.startsWith("/meta/echo tcp://127.0.0.1:"), answer);
        assertEquals("1", headers.get().get("first"));
        assertArrayEquals(raw, headers.get().getBytes("raw-bin"));
        assertArrayEquals(new byte[][] {raw, more}, headers.get().allBytes("raw-bin").toArray());
        assertTrue(headers.get().allBytes("none").isEmpty());
        assertNull(headers.get().get("none"));
        assertEquals(Metadata.of("twice", "a+b"), trailers.get());
        trailers.set(null);
        Client failing = client;
        NebulaException failure = Kit.failure(() -> failing.call("meta.echo", -1, String.class));
        assertEquals("a+b", failure.trailers().get("twice"));
        assertEquals(failure.trailers(), trailers.get());
    }

    @Test
    void metadataThatCannotBeSentIsRefusedWhereItIsWritten() {
        String[][] wrong = {
            {"Upper", "x"}, {"", "x"}, {"grpc-x", "x"}, {"nebula-retries-left", "1"}, {"a b", "x"},
            {"text", "\1"}, {"text", "ä"}, {"alone"}};
        for (String[] each : wrong) {
            String message = assertThrows(IllegalArgumentException.class, () -> Metadata.of(each)).getMessage();
            assertTrue(message.startsWith("metadata"), message);
        }
    }

    // ---- errors -----------------------------------------------------------------------------------------------------

    @Test
    void whatAHandlerThrows() {
        NebulaException coded = new NebulaException(Code.NOT_FOUND, "no order 7: ☃", Metadata.of("order", "7"));
        Map<String, Throwable> thrown = Map.of(
                "coded", coded, "wrapped", new ExecutionException(coded), "plain", new IOException("disk full"),
                "long", new NebulaException(Code.INTERNAL, "é".repeat(5000)),
                "empty", new NebulaException(Code.ABORTED, null),
                "nul", new NebulaException(Code.INTERNAL, "a\0b"), "error", new StackOverflowError("deep"));
        Server server = new Server().unary("fail.encode", Integer.class, Object.class, (in, context) -> new Object());
        thrown.forEach((name, error) -> server.unary("fail." + name, Integer.class, Integer.class, (in, context) -> {
            if (error instanceof Error) {
                throw (Error) error;
            }
            throw (Exception) error;
        }));
        Client client = kit.serve(server);
        Map<String, String> seen = Map.of(
                "coded", "NOT_FOUND: no order 7: ☃", "wrapped", "NOT_FOUND: no order 7: ☃",
                "plain", "UNKNOWN: fail.plain threw java.io.IOException: disk full",
                "long", "INTERNAL: " + "é".repeat(1000), "empty", "ABORTED", "nul", "INTERNAL: a b",
                "error", "UNKNOWN: fail.error threw java.lang.StackOverflowError: deep",
                "none", "UNIMPLEMENTED: fail has no method \"none\"",
                "encode", "INTERNAL: fail.encode: the result cannot be encoded: No serializer found for class");
        seen.forEach((name, words) -> {
            NebulaException failure = Kit.failure(() -> client.call("fail." + name, 1, Integer.class));
            String text = failure.toString().substring("org.example.nebula.NebulaException: ".length());
            assertTrue(text.startsWith(words), text);
            assertTrue(text.equals(words) || name.equals("none") || name.equals("encode"), text);
            assertEquals(name.equals("none") ? Fate.UNSENT : Fate.PROCESSED, failure.fate());
            boolean hasTrailers = words.startsWith("NOT_FOUND");
            assertEquals(hasTrailers ? "7" : null, failure.trailers().get("order"));
            assertTrue(!hasTrailers || failure.fault() == Fault.CALLER);
        });
        assertThrows(IllegalArgumentException.class, () -> new NebulaException(Code.OK, "it is not"));
    }

    @Test
    void anExecutorThatTakesNoMoreAnswersSo() throws Exception {
        Server server = new Server(new ServerOptions().executor(task -> {
            throw new java.util.concurrent.RejectedExecutionException("full");
        })).unary("a.b", Integer.class, Integer.class, (in, context) -> in);
        Client client = kit.serve(server);
        assertEquals(Code.RESOURCE_EXHAUSTED, Kit.failure(() -> client.call("a.b", 1, Integer.class)).code());
        Kit.eventually("the server forgets it", () -> server.runningCalls() == 0);
    }

    @Test
    void numbersAreThoseOfTheHeader() throws Exception {
        String header = Files.readString(Path.of("../../capi/nebula.h"));
        for (Code each : Code.values()) {
            assertDefined(header, each.name(), each.ordinal());
        }
        for (Fate each : Fate.values()) {
            assertDefined(header, "FATE_" + each, each.ordinal());
        }
        for (Fault each : Fault.values()) {
            assertDefined(header, "FAULT_" + each, each.ordinal());
        }
        for (var field : Abi.class.getDeclaredFields()) {
            if (field.getType() == int.class) {
                assertDefined(header, field.getName(), field.getInt(null));
            }
        }
    }

    private static void assertDefined(String header, String name, int number) {
        assertTrue(header.matches("(?s).*\\bNEBULA_" + name + " = " + number + "\\b.*"), name + " = " + number);
    }
}

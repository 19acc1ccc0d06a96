// StreamTest.java - the three shapes with streams: messages, ends, backpressure.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Int64Value;
import java.util.Iterator;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Flow;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class StreamTest {
    @RegisterExtension
    final Kit kit = new Kit();

    /** A method of each shape, of protobuf messages. */
    static Server numbers() {
        return numbers(new ServerOptions());
    }

    static Server numbers(ServerOptions options) {
        return new Server(options)
                .serverStream("numbers.Count", Int64Value.class, Int64Value.class, (count, answers, context) -> {
                    for (long i = 0; i < count.getValue(); i++) {
                        answers.send(Int64Value.of(i));
                    }
                })
                .clientStream("numbers.Sum", Int64Value.class, Int64Value.class, (requests, context) -> {
                    long sum = 0;
                    for (Int64Value each : requests) {
                        sum += each.getValue();
                    }
                    return Int64Value.of(sum);
                })
                .bidi("numbers.Double", Int64Value.class, Int64Value.class, (stream, context) -> {
                    for (Int64Value each : stream) {
                        if (each.getValue() < 0) {
                            throw new NebulaException(Code.OUT_OF_RANGE, each.getValue() + " is negative");
                        }
                        stream.send(Int64Value.of(2 * each.getValue()));
                    }
                });
    }

    @Test
    void aStreamOfAnswersIsIteratedOver() {
        Client client = kit.serve(numbers());
        for (long count : new long[] {0, 1, 10_000}) {
            CallStream<Void, Int64Value> stream =
                    client.serverStream("numbers.Count", Int64Value.of(count), Int64Value.class);
            long next = 0;
            for (Int64Value each : stream) {
                assertEquals(next++, each.getValue());
            }
            assertEquals(count, next);
            assertNull(stream.receive());
            Iterator<Int64Value> over = stream.iterator();
            assertFalse(over.hasNext());
            assertThrows(NoSuchElementException.class, over::next);
            assertThrows(IllegalArgumentException.class, () -> client.withMetadata("a name alone"));
        }
    }

    @Test
    void aStreamOfRequestsHasOneAnswer() {
        Client client = kit.serve(numbers());
        for (long count : new long[] {0, 1, 10_000}) {
            CallStream<Int64Value, Int64Value> stream =
                    client.clientStream("numbers.Sum", Int64Value.class, Int64Value.class);
            for (long i = 0; i < count; i++) {
                assertTrue(stream.send(Int64Value.of(i)));
            }
            assertEquals(count * (count - 1) / 2, stream.finish().getValue());
            assertFalse(stream.send(Int64Value.of(1)));
        }
    }

    @Test
    void aConversation() {
        CallStream<Int64Value, Int64Value> stream =
                kit.serve(numbers()).bidi("numbers.Double", Int64Value.class, Int64Value.class);
        for (long i = 0; i < 100; i++) {
            assertTrue(stream.send(Int64Value.of(i)));
            assertEquals(2 * i, stream.receive().getValue());
        }
        stream.end();
        assertNull(stream.receive());
        assertFalse(stream.send(Int64Value.of(1)));
    }

    @Test
    void nothingIsSentAfterTheEnd() throws Exception {
        CountDownLatch leave = new CountDownLatch(1);
        CallStream<Integer, Integer> stream = kit.serve(new Server().bidi(
                "a.b", Integer.class, Integer.class, (in, context) -> leave.await()))
                .bidi("a.b", Integer.class, Integer.class);
        stream.end();
        assertThrows(IllegalStateException.class, () -> stream.send(1));
        leave.countDown();
        assertNull(stream.receive());
    }

    @Test
    void messagesBeforeAnErrorAreReceivedAndSendTellsItToo() {
        CallStream<Int64Value, Int64Value> stream =
                kit.serve(numbers()).bidi("numbers.Double", Int64Value.class, Int64Value.class);
        for (long each : new long[] {1, 2, -3}) {
            stream.send(Int64Value.of(each));
        }
        assertEquals(2, stream.receive().getValue());
        assertEquals(4, stream.receive().getValue());
        NebulaException failure = Kit.failure(stream::receive);
        assertEquals(Code.OUT_OF_RANGE, failure.code());
        assertEquals("-3 is negative", failure.getMessage());
        assertEquals(Fate.PROCESSED, failure.fate());
        assertEquals(Code.OUT_OF_RANGE, Kit.failure(() -> stream.send(Int64Value.of(1))).code());
    }

    @Test
    void streamsOfJsonNameTheMessageAtFault() {
        Server room = new Server().bidi("room.chat", Person.class, String.class, (people, context) -> {
            for (Person each : people) {
                people.send("Hello " + each.name());
            }
        });
        CallStream<Object, String> stream = kit.serve(room).bidi("room.chat", Object.class, String.class);
        stream.send(new Person("Ada"));
        assertEquals("Hello Ada", stream.receive());
        stream.send(Map.of("nme", "Bob"));
        NebulaException failure = Kit.failure(stream::receive);
        assertEquals(Code.INVALID_ARGUMENT, failure.code());
        assertEquals("room.chat has no field \"nme\" (fields: name, age); did you mean \"name\"?", failure.getMessage());
    }

    @Test
    void anAnswerThatCannotBeReadEndsTheCall() throws Exception {
        BlockingQueue<Code> ended = new LinkedBlockingQueue<>();
        CallStream<Void, Integer> stream = kit.serve(new Server().serverStream(
                "words.get", Integer.class, String.class, (in, answers, context) -> {
                    answers.send("no number");
                    endless(context, ended, () -> answers.send("more"));
                })).serverStream("words.get", 1, Integer.class);
        assertEquals(Code.INTERNAL, Kit.failure(stream::receive).code());
        assertEquals(Code.CANCELLED, Kit.take(ended));
    }

    @Test
    void aStreamingMethodCalledAsUnarySaysHow() {
        Client client = kit.serve(numbers());
        NebulaException failure =
                Kit.failure(() -> client.call("numbers.Count", Int64Value.of(3), Int64Value.class));
        assertEquals(Code.UNIMPLEMENTED, failure.code());
        assertEquals("numbers.Count answers with a stream: Client.serverStream calls it", failure.getMessage());
    }

    @Test
    void headersAndTrailersOfAStream() {
        byte[] raw = {0, -1};
        CallStream<Void, Integer> stream = kit.serve(new Server().serverStream(
                "a.b", Integer.class, Integer.class, (in, answers, context) -> {
                    context.sendHeaders(Metadata.of("kind", "early").with("raw-bin", raw));
                    assertThrows(IllegalStateException.class, () -> context.sendHeaders(Metadata.EMPTY));
                    answers.send(in);
                    context.setTrailers(Metadata.of("kind", "late"));
                })).serverStream("a.b", 7, Integer.class);
        assertEquals("early", stream.headers().get("kind"));
        assertArrayEquals(raw, stream.headers().getBytes("raw-bin"));
        assertEquals(7, stream.receive());
        assertNull(stream.receive());
        assertEquals(Metadata.of("kind", "late"), stream.trailers());
    }

    // ---- backpressure -----------------------------------------------------------------------------------------------

    private static final int COUNT = 2000, BYTES = 10_000;

    /** Waits until a counter has begun, and then stood still for a while. */
    private static int settled(AtomicInteger counter) throws InterruptedException {
        Kit.eventually("it begins", () -> counter.get() > 0);
        for (int last = 0, now = counter.get(); ; last = now, now = counter.get()) {
            if (now == last) {
                return now;
            }
            Thread.sleep(300);
        }
    }

    @Test
    void aSlowReaderStopsTheServer() throws Exception {
        AtomicInteger sent = new AtomicInteger();
        CallStream<Void, byte[]> stream = kit.serve(new Server().serverStream(
                "flood.get", byte[].class, byte[].class, (in, answers, context) -> {
                    for (int i = 0; i < COUNT; i++) {
                        answers.send(new byte[BYTES]);
                        sent.incrementAndGet();
                    }
                })).serverStream("flood.get", new byte[0], byte[].class);
        int stopped = settled(sent);
        assertTrue(stopped <= COUNT / 4, "sent to a reader that does not read: " + stopped);
        for (int i = 0; i < COUNT; i++) {
            assertEquals(BYTES, stream.receive().length);
        }
        assertNull(stream.receive());
        assertEquals(COUNT, sent.get());
    }

    @Test
    void aSlowHandlerStopsTheCaller() throws Exception {
        CountDownLatch read = new CountDownLatch(1);
        CallStream<byte[], Integer> stream = kit.serve(new Server().clientStream(
                "flood.put", byte[].class, Integer.class, (requests, context) -> {
                    read.await();
                    int total = 0;
                    for (byte[] each : requests) {
                        total += each.length;
                    }
                    return total / BYTES;
                })).clientStream("flood.put", byte[].class, Integer.class);
        AtomicInteger sent = new AtomicInteger();
        CompletableFuture<Void> done = CompletableFuture.runAsync(() -> {
            for (int i = 0; i < COUNT; i++) {
                stream.send(new byte[BYTES]);
                sent.incrementAndGet();
            }
        });
        int stopped = settled(sent);
        assertTrue(stopped <= COUNT / 4, "sent to a handler that does not read: " + stopped);
        read.countDown();
        done.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        assertEquals(COUNT, stream.finish());
    }

    // ---- Flow -------------------------------------------------------------------------------------------------------

    /** Keeps what it is told, and asks for nothing by itself. */
    private static final class Subscriber<T> implements Flow.Subscriber<T> {
        final BlockingQueue<Object> told = new LinkedBlockingQueue<>();
        Flow.Subscription subscription;

        @Override
        public void onSubscribe(Flow.Subscription given) {
            subscription = given;
        }

        @Override
        public void onNext(T message) {
            told.add(message);
        }

        @Override
        public void onError(Throwable failure) {
            told.add(failure instanceof NebulaException ? ((NebulaException) failure).code() : failure.getClass());
        }

        @Override
        public void onComplete() {
            told.add("complete");
        }
    }

    @Test
    void aPublisherGivesWhatIsAskedForAndTheEnd() throws Exception {
        Client client = kit.serve(numbers());
        for (int count : new int[] {0, 3}) {
            Subscriber<Int64Value> subscriber = new Subscriber<>();
            Flow.Publisher<Int64Value> publisher =
                    client.serverStream("numbers.Count", Int64Value.of(count), Int64Value.class).publisher();
            publisher.subscribe(subscriber);
            for (int i = 0; i < count; i++) {
                assertTrue(subscriber.told.isEmpty());
                subscriber.subscription.request(1);
                assertEquals(Int64Value.of(i), Kit.take(subscriber.told));
            }
            assertEquals("complete", Kit.take(subscriber.told));
            Subscriber<Int64Value> second = new Subscriber<>();
            publisher.subscribe(second);
            assertEquals(IllegalStateException.class, Kit.take(second.told));
        }
        Subscriber<Int64Value> greedy = new Subscriber<>();
        client.serverStream("numbers.Count", Int64Value.of(1), Int64Value.class).publisher().subscribe(greedy);
        greedy.subscription.request(0);
        assertEquals(IllegalArgumentException.class, Kit.take(greedy.told));
    }

    @Test
    void aSubscriptionThatIsCancelledEndsTheCallAndAFailureIsTold() throws Exception {
        BlockingQueue<Code> ended = new LinkedBlockingQueue<>();
        CallStream<Void, Integer> stream = kit.serve(new Server().serverStream(
                "endless.get", Integer.class, Integer.class, (in, answers, context) ->
                        endless(context, ended, () -> answers.send(1)))).serverStream("endless.get", 1, Integer.class);
        Subscriber<Integer> subscriber = new Subscriber<>();
        stream.publisher().subscribe(subscriber);
        subscriber.subscription.request(1);
        assertEquals(1, Kit.take(subscriber.told));
        subscriber.subscription.cancel();
        assertEquals(Code.CANCELLED, Kit.take(ended));
        assertTrue(subscriber.told.isEmpty());

        Subscriber<Int64Value> failing = new Subscriber<>();
        CallStream<Int64Value, Int64Value> talk =
                kit.serve(numbers()).bidi("numbers.Double", Int64Value.class, Int64Value.class);
        talk.publisher().subscribe(failing);
        talk.send(Int64Value.of(-1));
        assertEquals(Code.OUT_OF_RANGE, Kit.take(failing.told));
    }

    // ---- ends -------------------------------------------------------------------------------------------------------

    private static void endless(Context context, BlockingQueue<Code> ended, Runnable send) {
        try {
            for (;;) {
                send.run();
            }
        } catch (NebulaException failure) {
            assertTrue(context.isCancelled());
            ended.add(failure.code());
            throw failure;
        }
    }

    @Test
    void aStreamThatNobodyUsesAnyMoreIsCancelled() throws Exception {
        BlockingQueue<Code> ended = new LinkedBlockingQueue<>();
        Client client = kit.serve(new Server().serverStream("endless.get", Integer.class, Integer.class,
                (in, answers, context) -> endless(context, ended, () -> answers.send(1)))).withTimeout(null);
        receiveOne(client);
        Kit.eventually("it ends", () -> {
            System.gc();
            return !ended.isEmpty();
        });
        assertEquals(Code.CANCELLED, Kit.take(ended));
    }

    private static void receiveOne(Client client) {
        assertEquals(1, client.serverStream("endless.get", 0, Integer.class).receive());
    }

    @Test
    void closeEndsAStreamAtBothSides() throws Exception {
        CountDownLatch cancelled = new CountDownLatch(1), entered = new CountDownLatch(1);
        Server talk = new Server().bidi("talk.open", Integer.class, Integer.class, (in, context) -> {
            context.onCancel(cancelled::countDown);
            in.receive();
            entered.countDown();
            cancelled.await();
        });
        CallStream<Integer, Integer> stream = kit.serve(talk).bidi("talk.open", Integer.class, Integer.class);
        CompletableFuture<Integer> received = CompletableFuture.supplyAsync(stream::receive);
        stream.send(1);
        Kit.await(entered);
        stream.close();
        assertEquals(Code.CANCELLED, Kit.failure(received).code());
        Kit.await(cancelled);
        stream.close();
    }
}

// FilterTest.java - filters around calls, on both sides and in all shapes.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Int64Value;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class FilterTest {
    @RegisterExtension
    final Kit kit = new Kit();

    private static final ThreadLocal<String> USER = new ThreadLocal<>();
    private final AtomicInteger calls = new AtomicInteger();
    private final CountDownLatch waiting = new CountDownLatch(1);
    private final List<String> seen = new CopyOnWriteArrayList<>();

    /** Says what reached it, and counts its calls. */
    private Server greeter(Filter... filters) {
        return new Server(new ServerOptions().filters(filters))
                .unary("f.greet", Person.class, String.class, (person, context) -> {
                    calls.incrementAndGet();
                    context.sendHeaders(Metadata.of("early", "1"));
                    context.setTrailers(Metadata.of("late", String.valueOf(context.metadata().get("tenant"))));
                    return "Hello " + person.name() + " of " + USER.get();
                })
                .async("f.later", Person.class, String.class, (person, context) ->
                        CompletableFuture.supplyAsync(() -> "later " + person.name()))
                .unary("f.fail", Person.class, String.class, (person, context) -> {
                    calls.incrementAndGet();
                    throw new NebulaException(Code.NOT_FOUND, "no " + person.name(), Metadata.of("why", "test"));
                })
                .unary("f.wait", Person.class, String.class, (person, context) -> {
                    CountDownLatch over = new CountDownLatch(1);
                    context.onCancel(over::countDown);
                    waiting.countDown();
                    over.await();
                    return "";
                });
    }

    private static Person ada() {
        return new Person("Ada", 36);
    }

    private static String greet(Client client, Filter... filters) {
        return client.withFilters(filters).call("f.greet", ada(), String.class);
    }

    private Filter named(String name) {
        return (call, next) -> {
            seen.add(name + " in");
            Object answer = next.run();
            seen.add(name + " out");
            return answer + name;
        };
    }

    @Test
    void theFirstFilterIsTheOutermost() {
        kit.serve(greeter());
        Server server = kit.ending(greeter().listen("tcp://127.0.0.1:0").start());
        Client client = kit.ending(
                Nebula.connect(server.urls().get(0), new ChannelOptions().filters(named("a"), named("b")))).client();
        assertEquals("Hello Ada of nullcba", greet(client, named("c")));
        assertEquals(List.of("a in", "b in", "c in", "c out", "b out", "a out"), seen);
    }

    @Test
    void metadataAndRequestOfAFilterReachTheServer() {
        Client client = kit.serve(greeter()).withMetadata("own", "1")
                .withTrailers(trailers -> seen.add("user " + trailers.get("late")));
        assertEquals("Hello Eve of null", greet(client, (call, next) -> {
            assertEquals("/f/greet", call.method());
            assertEquals("", call.peer());
            assertEquals("1", call.metadata().get("own"));
            assertEquals(ada(), call.request());
            assertFalse(call.isStream());
            assertEquals(Kit.PATIENCE, call.timeout().get());
            call.setMetadata(call.metadata().with("tenant", "a"));
            call.setRequest(new Person("Eve", 1));
            Object answer = next.run();
            seen.add(call.headers().get("early") + call.trailers().get("late"));
            return answer;
        }));
        assertEquals(List.of("user a", "1a"), seen);
    }

    @Test
    void aFilterAnswersWithoutNext() {
        Client client = kit.connect("tcp://127.0.0.1:1").withFilters((call, next) -> "cached");
        assertEquals("cached", greet(client));
        assertEquals("cached", client.callAsync("f.greet", ada(), String.class).join());
        CallStream<Int64Value, Int64Value> stream = client.bidi("n.Double", Int64Value.class, Int64Value.class);
        assertFalse(stream.send(Int64Value.of(1)));
        assertNull(stream.receive());
        stream.close();
    }

    @Test
    void aFilterRunsNextAgainAndWhatIsInsideBeginsAnew() {
        Client client = kit.serve(greeter()).withFilters((call, next) -> {
            NebulaException failure = assertThrows(NebulaException.class, next::run);
            assertEquals("test", failure.trailers().get("why"));
            assertEquals("test", call.trailers().get("why"));
            call.setRequest(new Person("second", 2));
            return next.run();
        }, (call, next) -> {
            seen.add(call.metadata().names().toString());
            call.setMetadata(call.metadata().with("try", "1"));
            return next.run();
        });
        assertEquals("no second", Kit.failure(() -> client.call("f.fail", ada(), String.class)).getMessage());
        assertEquals(List.of("[]", "[]"), seen);
        assertEquals(2, calls.get());
    }

    @Test
    void whatAFilterThrowsIsWhatTheCallThrows() {
        Client client = kit.serve(StreamTest.numbers());
        Client refusing = client.withFilters((call, next) -> {
            throw new IllegalStateException("no token");
        });
        assertThrows(IllegalStateException.class, () -> greet(refusing));
        assertThrows(IllegalStateException.class, () -> refusing.bidi("any.Double", Int64Value.class, Int64Value.class));
        Client checked = client.withFilters((call, next) -> {
            throw new IOException("no file");
        });
        assertTrue(assertThrows(CompletionException.class, () -> greet(checked)).getCause() instanceof IOException);
        CompletableFuture<String> future = refusing.callAsync("f.greet", ada(), String.class);
        assertTrue(assertThrows(CompletionException.class, future::join).getCause() instanceof IllegalStateException);

        CallStream<Int64Value, Int64Value> stream = client.withFilters((call, next) -> {
            assertEquals(Code.OUT_OF_RANGE, Kit.failure(next::run).code());
            throw new IllegalStateException("softened");
        }).bidi("numbers.Double", Int64Value.class, Int64Value.class);
        stream.send(Int64Value.of(-1));
        assertEquals("softened", assertThrows(IllegalStateException.class, stream::receive).getMessage());
    }

    /** Adds one to what goes there, and multiplies by ten what comes back. */
    private static Filter counting(AtomicInteger there, AtomicInteger back) {
        return (call, next) -> {
            call.onRequest(message -> {
                there.incrementAndGet();
                return Int64Value.of(((Int64Value) message).getValue() + 1);
            });
            call.onAnswer(message -> {
                back.incrementAndGet();
                return Int64Value.of(((Int64Value) message).getValue() * 10);
            });
            return next.run();
        };
    }

    private static void checkShapes(Client client, AtomicInteger there, AtomicInteger back) {
        CallStream<Void, Int64Value> counts =
                client.serverStream("numbers.Count", Int64Value.of(2), Int64Value.class);
        for (long expected : new long[] {0, 10, 20}) { // one more than asked for
            assertEquals(expected, counts.receive().getValue());
        }
        assertNull(counts.receive());
        assertEquals("1 3", there + " " + back);

        CallStream<Int64Value, Int64Value> sum =
                client.clientStream("numbers.Sum", Int64Value.class, Int64Value.class);
        sum.send(Int64Value.of(1));
        sum.send(Int64Value.of(2));
        assertEquals(50, sum.finish().getValue());
        assertEquals("3 4", there + " " + back);

        CallStream<Int64Value, Int64Value> twice = client.bidi("numbers.Double", Int64Value.class, Int64Value.class);
        twice.send(Int64Value.of(1));
        assertEquals(40, twice.receive().getValue());
        twice.end();
        assertNull(twice.receive());
        assertEquals("4 5", there + " " + back);
    }

    @Test
    void messagesOfAllShapesPassThroughAFilterOfAClient() {
        AtomicInteger there = new AtomicInteger(), back = new AtomicInteger();
        checkShapes(kit.serve(StreamTest.numbers()).withFilters(counting(there, back)), there, back);
    }

    @Test
    void messagesOfAllShapesPassThroughAFilterOfAServer() {
        AtomicInteger there = new AtomicInteger(), back = new AtomicInteger();
        checkShapes(kit.serve(StreamTest.numbers(new ServerOptions().filters(counting(there, back)))), there, back);
    }

    @Test
    void nextIsOnceForAStream() {
        CallStream<Void, Int64Value> stream = kit.serve(StreamTest.numbers()).withFilters((call, next) -> {
            assertTrue(call.isStream());
            next.run();
            return next.run();
        }).serverStream("numbers.Count", Int64Value.of(0), Int64Value.class);
        String said = assertThrows(IllegalStateException.class, stream::receive).getMessage();
        assertTrue(said.contains("next is run once"), said);
    }

    @Test
    void theDeadlineIsForAllThatFiltersDo() {
        Client client = kit.serve(greeter());
        Client again = client.withTimeout(Duration.ofMillis(30)).withFilters((call, next) -> {
            call.setTimeout(Kit.PATIENCE); // does not make it longer
            assertEquals(Code.DEADLINE_EXCEEDED, Kit.failure(next::run).code());
            return next.run();
        });
        NebulaException failure = Kit.failure(() -> again.call("f.wait", ada(), String.class));
        assertEquals(Code.DEADLINE_EXCEEDED, failure.code());
        assertEquals(Fate.UNSENT, failure.fate());
        Client shorter = client.withFilters((call, next) -> {
            call.setTimeout(Duration.ofMillis(20));
            return next.run();
        });
        assertEquals(Code.DEADLINE_EXCEEDED, Kit.failure(() -> shorter.call("f.wait", ada(), String.class)).code());
    }

    @Test
    void cancellationGoesThroughFiltersOfBothSides() throws Exception {
        BlockingQueue<String> ended = new LinkedBlockingQueue<>();
        Client client = kit.serve(greeter((call, next) -> {
            try {
                return next.run();
            } finally {
                ended.add("server " + call.context().isCancelled());
            }
        })).withFilters((call, next) -> {
            try {
                return next.run();
            } catch (NebulaException failure) {
                ended.add("client " + failure.code());
                throw failure;
            }
        });
        CompletableFuture<String> future = client.callAsync("f.wait", ada(), String.class);
        Kit.await(waiting);
        future.cancel(true);
        List<String> both = List.of(Kit.take(ended), Kit.take(ended));
        assertTrue(both.containsAll(List.of("client CANCELLED", "server true")), both.toString());
    }

    @Test
    void aStreamThatIsClosedEndsItsFilters() throws Exception {
        BlockingQueue<Code> ended = new LinkedBlockingQueue<>();
        Client client = kit.serve(StreamTest.numbers()).withFilters((call, next) -> {
            ended.add(Kit.failure(next::run).code());
            return null;
        });
        client.bidi("numbers.Double", Int64Value.class, Int64Value.class).close();
        assertEquals(Code.CANCELLED, Kit.take(ended));
    }

    @Test
    void aServerFilterRefusesBeforeTheHandlerRuns() {
        Client client = kit.serve(greeter((call, next) -> {
            if (!"secret".equals(call.metadata().get("token"))) {
                throw new NebulaException(Code.UNAUTHENTICATED, "who are you?", Metadata.of("realm", "test"));
            }
            USER.set("Ada");
            try {
                return next.run();
            } finally {
                USER.remove();
            }
        }));
        byte[] malformed = "{\"nme\": \"Ada\"}".getBytes(StandardCharsets.UTF_8); // not checked before it is sent
        for (Object request : new Object[] {ada(), malformed}) {
            NebulaException failure = Kit.failure(() -> client.call("f.greet", request, String.class));
            assertEquals(Code.UNAUTHENTICATED, failure.code());
            assertEquals("test", failure.trailers().get("realm"));
        }
        assertEquals(0, calls.get());
        Client known = client.withMetadata("token", "secret");
        assertEquals("Hello Ada of Ada", greet(known));
        assertEquals(Code.INVALID_ARGUMENT, Kit.failure(() -> known.call("f.greet", malformed, String.class)).code());
    }

    @Test
    void aServerFilterSeesAndChangesWhatThereIsOfACall() {
        Client client = kit.serve(greeter((call, next) -> {
            assertTrue(call.peer().startsWith("tcp://127.0.0.1:"), call.peer());
            assertTrue(call.timeout().get().compareTo(Kit.PATIENCE) <= 0);
            call.setMetadata(Metadata.of("tenant", call.metadata().get("tenant") + "+"));
            call.setRequest(new Person(((Person) call.request()).name() + "+", 1));
            Object answer = next.run();
            seen.add(answer + " " + call.trailers().get("late"));
            call.context().setTrailers(Metadata.of("late", "changed"));
            return answer.toString().toUpperCase();
        }, (call, next) -> {
            seen.add(((Person) call.request()).name());
            return next.run();
        })).withMetadata("tenant", "a").withTrailers(trailers -> seen.add(trailers.get("late")));
        assertEquals("HELLO ADA+ OF NULL", greet(client));
        assertEquals(List.of("Ada+", "Hello Ada+ of null a+", "changed"), seen);
        assertEquals("LATER ADA+", client.call("f.later", ada(), String.class));
    }

    @Test
    void aServerFilterAnswersByItselfAndForgives() {
        Client client = kit.serve(greeter((call, next) -> {
            if (call.metadata().get("cached") != null) {
                return "cached";
            }
            try {
                return next.run();
            } catch (NebulaException failure) {
                return "sorry: " + failure.code();
            }
        }));
        assertEquals("cached", greet(client.withMetadata("cached", "1")));
        assertEquals(0, calls.get());
        assertEquals("sorry: NOT_FOUND", client.call("f.fail", ada(), String.class));
    }

    @Test
    void whatAServerFilterThrowsIsUnknown() {
        Client client = kit.serve(greeter((call, next) -> {
            throw new IllegalStateException("a mistake");
        }));
        NebulaException failure = Kit.failure(() -> greet(client));
        assertEquals(Code.UNKNOWN, failure.code());
        assertTrue(failure.getMessage().contains("a mistake"), failure.getMessage());
    }

    /** A program of its own, for what it uses is for all of it. */
    static final class Using {
        public static void main(String[] arguments) {
            Nebula.use((call, next) -> next.run() + "!");
            Nebula.use((call, next) -> next.run() + "?");
            try (Server server = new Server()
                    .unary("used.greet", String.class, String.class, (name, context) -> "Hello " + name).start()) {
                System.out.println(Nebula.call("used.greet", "Ada", String.class));
            }
        }
    }

    @Test
    void useIsForCallsByName() throws IOException {
        assertEquals("Hello Ada?!", kit.startJava(Using.class).line());
    }
}

// UnaryTest.java - one request, one answer: by name and by address, JSON, protobuf and bytes.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.StringValue;
import com.google.protobuf.Value;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class UnaryTest {
    @RegisterExtension
    final Kit kit = new Kit();

    private static Server hello() {
        return new Server().unary(
                "hello.greet", Person.class, String.class, (person, context) -> "Hello " + person.name() + "!");
    }

    // ---- by name, in processes of their own -------------------------------------------------------------------------

    @Test
    void aServiceIsCalledByItsName() throws Exception {
        String ready = kit.startJava(HelloProgram.class, "hello").line();
        assertTrue(ready.startsWith("hello  (java)  ready   tcp://127.0.0.1:2") && ready.contains("unix:"), ready);
        assertEquals("Hello Ada!", Nebula.call("hello.greet", Map.of("name", "Ada"), String.class));
        assertEquals("Hello Bob!", kit.connect("nebula://hello").call("/hello/greet", new Person("Bob"), String.class));
        assertEquals("Hello Eve!", Nebula.callAsync("hello.greet", new Person("Eve"), String.class).get());
    }

    @Test
    void aChannelHasAPolicyAndAMistakeInItSaysWhatThereIs() throws Exception {
        CountDownLatch end = new CountDownLatch(1);
        Server server = kit.ending(new Server().unary("slow.hold", Map.class, String.class, (request, context) -> {
            Kit.await(end);
            return "";
        }).listen("tcp://127.0.0.1:0").start());
        ChannelOptions hasty = new ChannelOptions().policy("deadline:?default=20ms");
        Client client = kit.ending(Nebula.connect(server.urls().get(0), hasty)).client();
        assertEquals(
                Code.DEADLINE_EXCEEDED, Kit.failure(() -> client.call("slow.hold", Map.of(), String.class)).code());
        end.countDown();
        ChannelOptions mistaken = new ChannelOptions().policy("balancr=p2c:");
        EngineException refusal = assertThrows(EngineException.class, () -> Nebula.connect("nebula:", mistaken));
        assertTrue(refusal.getMessage().matches("(?s).*balancr.*balancer.*"), refusal.getMessage());
    }

    @Test
    void bothSidesOfACallAreCounted() throws Exception {
        Server server = kit.ending(new Server().unary(
                "counted.greet", Map.class, String.class, (request, context) -> "Hello!").listen("tcp://127.0.0.1:0").start());
        String url = server.urls().get(0);
        Client client = kit.connect(url);
        for (int i = 0; i < 3; i++) {
            client.call("counted.greet", Map.of(), String.class);
        }
        Metrics report = Nebula.metrics().get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        assertEquals(3, point(report, "nebula.client.call.started", url).value());
        Metrics.Histogram served = point(report, "grpc.server.call.duration", null).histogram();
        assertEquals(3, served.count());
        assertEquals(report.bounds().size() + 1, served.buckets().size());
        assertTrue(report.channels().stream().anyMatch(
                channel -> channel.target().equals(url) && channel.nodes().get(0).state().equals("usable")));
    }

    private static Metrics.Point point(Metrics report, String name, String target) {
        return report.metrics().stream().filter(metric -> metric.name().equals(name))
                .flatMap(metric -> metric.points().stream())
                .filter(point -> "counted/greet".equals(point.method()) && (target == null || target.equals(point.target())))
                .findFirst().orElseThrow();
    }

    @Test
    void nobodyThereSaysSoAtOnceAndWhatIsSimilar() throws Exception {
        kit.startJava(HelloProgram.class, "hello-there").line();
        NebulaException failure = Kit.failure(() -> Nebula.call("helo-there.greet", Map.of(), String.class));
        assertEquals(Code.UNAVAILABLE, failure.code());
        assertEquals(Fate.UNSENT, failure.fate());
        assertTrue(failure.getMessage().contains("no instance of \"helo-there\""), failure.getMessage());
        assertTrue(failure.getMessage().contains("\"hello-there\""), failure.getMessage());
    }

    @Test
    void aKilledServiceIsUnavailableAndANewOneIsFound() throws Exception {
        for (int i = 0; i < 2; i++) {
            Kit.Program phoenix = kit.startJava(HelloProgram.class, "phoenix");
            phoenix.line();
            Kit.byName().waitForReady().call("phoenix.greet", new Person("Ada"), String.class);
            phoenix.close();
            Kit.eventually("it is missed", () -> {
                try {
                    Kit.byName().call("phoenix.greet", new Person("Ada"), String.class);
                    return false;
                } catch (NebulaException failure) {
                    return failure.code() == Code.UNAVAILABLE;
                }
            });
        }
    }

    /** Calls until the service has withdrawn. */
    private static void untilWithdrawn(String method) throws InterruptedException {
        Kit.eventually("it withdraws", () -> {
            try {
                Nebula.call(method, new Person("Ada"), String.class);
                return false;
            } catch (NebulaException failure) {
                return failure.code() == Code.UNAVAILABLE;
            }
        });
    }

    @Test
    void aSignalLetsRunningCallsEndAndTheProgramReturns0() throws Exception {
        Kit.Program leaving = kit.startJava(HelloProgram.class, "leaving");
        leaving.line();
        CompletableFuture<String> answer = Kit.byName().callAsync("leaving.wait", Map.of(), String.class);
        assertEquals("entered", leaving.line());
        leaving.signal("TERM");
        untilWithdrawn("leaving.greet");
        leaving.tell("waited");
        assertEquals("waited", answer.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS));
        assertEquals(0, leaving.exitCode());
    }

    @Test
    void aSecondSignalEndsTheProgramAtOnce() throws Exception {
        Kit.Program impatient = kit.startJava(HelloProgram.class, "impatient");
        impatient.line();
        CompletableFuture<String> answer = Kit.byName().callAsync("impatient.wait", Map.of(), String.class);
        assertEquals("entered", impatient.line());
        impatient.signal("TERM");
        untilWithdrawn("impatient.greet");
        impatient.signal("TERM");
        assertEquals(128 + 15, impatient.exitCode());
        assertEquals(Code.UNAVAILABLE, Kit.failure(answer).code());
    }

    @Test
    void aLostConnectionTellsHowFarTheCallGot() throws Exception {
        Kit.Program lost = kit.startJava(HelloProgram.class, "lost");
        lost.line();
        CompletableFuture<String> answer = Kit.byName().callAsync("lost.wait", Map.of(), String.class);
        assertEquals("entered", lost.line());
        lost.close();
        NebulaException failure = Kit.failure(answer);
        assertEquals(Code.UNAVAILABLE, failure.code());
        assertEquals(Fate.UNKNOWN, failure.fate());
        assertEquals(Fault.NETWORK, failure.fault());
    }

    // ---- messages ---------------------------------------------------------------------------------------------------

    @Test
    void fieldsAreCheckedAndTheErrorNamesThem() {
        Client client = kit.serve(hello());
        Map<Object, String> wrong = new HashMap<>();
        wrong.put(Map.of("nme", "Ada"), "hello.greet has no field \"nme\" (fields: name, age); did you mean \"name\"?");
        wrong.put(Map.of("name", 7), "hello.greet: field \"name\" must be a string, not a number");
        wrong.put(Map.of("age", "7"), "hello.greet: field \"age\" must be an integer, not a string");
        wrong.put(Map.of("age", 1.5), "hello.greet: field \"age\" must be an integer, not 1.5");
        wrong.put(List.of(1), "hello.greet: the message must be an object, not a list");
        wrong.put("{} {}".getBytes(), "hello.greet: malformed JSON: there is more than one value");
        wrong.put("{\"name\": ".getBytes(), "hello.greet: malformed JSON: Unexpected end-of-input");
        wrong.forEach((request, message) -> {
            NebulaException failure = Kit.failure(() -> client.call("hello.greet", request, String.class));
            assertEquals(Code.INVALID_ARGUMENT, failure.code());
            assertTrue(failure.getMessage().startsWith(message), failure.getMessage());
        });
        NebulaException failure = Kit.failure(() -> client.call("hello.greet", new Person("Ada"), Integer.class));
        assertEquals("hello.greet: malformed answer: the message must be an integer, not a string",
                failure.getMessage());
        assertEquals(Code.INTERNAL, failure.code());
        assertEquals(Fault.CALLEE, failure.fault());
    }

    record Address(String zip) {}

    record Guest(String name, int age, Address home, List<Guest> friends, Map<String, Double> scores, byte[] key) {}

    @Test
    void aWrongRequestIsNotSent() {
        AtomicInteger served = new AtomicInteger();
        Client client = kit.serve(new Server().unary("hello.greet", Guest.class, String.class, (in, context) -> {
            served.incrementAndGet();
            return in.name();
        }));
        Map<Object, String> wrong = Map.of(
                Map.of("nmae", "Ada"), " has no field \"nmae\" (fields: name, age, home, friends, scores, key);"
                        + " did you mean \"name\"?",
                Map.of("age", "old"), ": field \"age\" must be an integer, not a string",
                Map.of("home", Map.of("zip", 1)), ": field \"home.zip\" must be a string, not a number",
                Map.of("friends", List.of(Map.of(), Map.of("name", true))),
                ": field \"friends[1].name\" must be a string, not a boolean",
                Map.of("scores", Map.of("a", "1")), ": field \"scores.a\" must be a number, not a string");
        wrong.forEach((request, words) -> {
            NebulaException failure = Kit.failure(() -> client.call("hello.greet", request, String.class));
            assertEquals("hello.greet" + words, failure.getMessage());
            assertEquals(Code.INVALID_ARGUMENT, failure.code());
            assertEquals(Fate.UNSENT, failure.fate());
            assertEquals(Fault.CALLER, failure.fault());
        });
        NebulaException unknown = Kit.failure(() -> client.call("hello.gret", Map.of(), String.class));
        assertEquals("hello has no method \"gret\" (methods: greet); did you mean \"greet\"?", unknown.getMessage());
        assertEquals(Code.UNIMPLEMENTED, unknown.code());
        assertEquals(0, served.get());
        Guest ada = new Guest("Ada", 7, new Address("1"), List.of(), Map.of("a", 1.5), new byte[] {1});
        assertEquals("Ada", client.call("hello.greet", ada, String.class));
    }

    @Test
    void protobufTravelsAsSuchAndAsJson() {
        Client client = kit.serve(new Server().unary("words.Upper", StringValue.class, StringValue.class,
                (in, context) -> StringValue.of(in.getValue().toUpperCase())));
        assertEquals("ADA", client.call("words.Upper", StringValue.of("ada"), StringValue.class).getValue());
        assertEquals("", client.call("words.Upper", StringValue.getDefaultInstance(), StringValue.class).getValue());
        assertEquals("ADA", client.call("words.Upper", "ada", String.class)); // proto3's JSON of a StringValue
        assertEquals("ADA", client.call("words.Upper", "ada", StringValue.class).getValue());
        byte[] packed = client.call("words.Upper", StringValue.of("ada").toByteArray(), byte[].class);
        assertArrayEquals(StringValue.of("ADA").toByteArray(), packed);
        assertEquals(Code.INVALID_ARGUMENT,
                Kit.failure(() -> client.call("words.Upper", StringValue.of("ada"), String.class)).code());
        for (Object wrong : new Object[] {new byte[] {-1}, "\"".getBytes(), Map.of("nme", "Ada")}) {
            assertEquals(Code.INVALID_ARGUMENT,
                    Kit.failure(() -> client.call("words.Upper", wrong, StringValue.class)).code());
        }
    }

    @Test
    void aMethodRefusesACodecThatIsNotItsOwn() {
        Client client = kit.serve(hello());
        NebulaException failure = Kit.failure(() -> client.call("hello.greet", StringValue.of("x"), StringValue.class));
        assertEquals(Code.UNIMPLEMENTED, failure.code());
        assertEquals("hello.greet accepts application/grpc+json, not application/grpc+proto", failure.getMessage());
    }

    @Test
    void bytesAndEveryOtherValue() {
        Client client = kit.serve(new Server()
                .unary("echo.bytes", byte[].class, byte[].class, (in, context) -> in)
                .unary("echo.any", Object.class, Object.class, (in, context) -> in)
                .unary("echo.value", Value.class, Value.class, (in, context) -> in));
        for (int size : new int[] {0, 1, 128, 1024, 1025, 70_000, 3 << 20}) {
            byte[] bytes = new byte[size];
            Arrays.fill(bytes, (byte) size);
            assertArrayEquals(bytes, client.call("echo.bytes", bytes, byte[].class));
        }
        Object[] values = {"ÄÖ☃\0𝄞", 1.5, true, List.of(1.5, "a"), Map.of("a", Map.of("b", false))};
        for (Object value : values) {
            assertEquals(value, client.call("echo.any", value, Object.class));
            assertEquals(value, client.call("echo.value", value, Object.class));
        }
        assertEquals(null, client.call("echo.any", null, Object.class));
        ByteString big = ByteString.copyFrom(new byte[5 << 20]);
        assertEquals(Code.RESOURCE_EXHAUSTED,
                Kit.failure(() -> client.call("echo.bytes", big.toByteArray(), byte[].class)).code());
    }

    // ---- servers and futures ----------------------------------------------------------------------------------------

    @Test
    void anAnswerMayComeLaterAndFromAnotherThread() throws Exception {
        CompletableFuture<String> later = new CompletableFuture<>();
        CountDownLatch entered = new CountDownLatch(2);
        Client client = kit.serve(new Server().async("later.get", Integer.class, String.class, (in, context) -> {
            entered.countDown();
            return in < 0 ? later.thenCompose(text -> CompletableFuture.failedFuture(
                    new NebulaException(Code.OUT_OF_RANGE, "negative"))) : later;
        }));
        CompletableFuture<String> good = client.callAsync("later.get", 1, String.class);
        CompletableFuture<String> bad = client.callAsync("later.get", -1, String.class);
        Kit.await(entered);
        later.complete("now");
        assertEquals("now", good.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS));
        assertEquals(Code.OUT_OF_RANGE, Kit.failure(bad).code());
    }

    @Test
    void waitingWhereAnswersAreDeliveredIsRefused() {
        Client client = kit.serve(hello());
        CompletableFuture<Throwable> inside = new CompletableFuture<>();
        client.withTrailers(any -> {
            try {
                client.call("hello.greet", new Person("x"), String.class);
                inside.complete(null);
            } catch (Throwable refused) {
                inside.complete(refused);
            }
        }).call("hello.greet", new Person("x"), String.class);
        assertEquals(IllegalStateException.class, inside.join().getClass());
    }

    @Test
    void whatCannotBeServedIsRefused() {
        Handler.Unary<Person, String> handler = (person, context) -> "";
        Supplier<Server> one = () -> new Server().unary("a.b", Person.class, String.class, handler);
        assertThrows(IllegalArgumentException.class,
                () -> new Server().unary("nodot", Person.class, String.class, handler));
        assertThrows(IllegalArgumentException.class,
                () -> new Server().unary("a.b", StringValue.class, String.class, (in, context) -> ""));
        assertThrows(IllegalArgumentException.class,
                () -> one.get().unary("a.b", Person.class, String.class, handler).start());
        assertThrows(EngineException.class, () -> one.get().listen("ftp://x").start());
        assertThrows(EngineException.class, () -> one.get().listen("tls://127.0.0.1:0").start());
        assertThrows(EngineException.class, () -> new Server().start());

        Server server = one.get();
        kit.serve(server);
        assertThrows(IllegalStateException.class, server::start);
        assertThrows(IllegalStateException.class, () -> server.unary("c.d", Person.class, String.class, handler));
        String url = server.urls().get(0);
        EngineException taken = assertThrows(EngineException.class, () -> one.get().listen(url).start());
        assertTrue(taken.getMessage().contains(url.substring("tcp://".length())), taken.getMessage());
        EngineException unknown = assertThrows(EngineException.class, () -> Nebula.connect("gopher://x"));
        assertTrue(unknown.getMessage().contains("gopher"), unknown.getMessage());
    }

    @Test
    void eachKindOfAddress() throws Exception {
        for (String address : List.of("tcp://127.0.0.1:0", "unix:" + kit.temporary() + "/☃", "mem:java-test")) {
            Server server = kit.ending(hello().listen(address).start());
            Client client = kit.connect(server.urls().get(0));
            assertEquals("Hello Ada!", client.call("hello.greet", new Person("Ada"), String.class));
        }
    }
}

// LoadTest.java - many at once, what is left behind, and how servers end.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Int64Value;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class LoadTest {
    @RegisterExtension
    final Kit kit = new Kit();

    /** All of them are in their handlers before the first one is answered. */
    private void crowd(int count, Server server, CountDownLatch arrived, Runnable open) throws Exception {
        Client client = kit.serve(server);
        List<CompletableFuture<Integer>> answers = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            answers.add(client.callAsync("crowd.wait", i, Integer.class));
        }
        Kit.await(arrived);
        assertEquals(count, server.runningCalls());
        open.run();
        for (int i = 0; i < count; i++) {
            assertEquals(i, answers.get(i).get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS));
        }
        Kit.eventually("the server forgets them", () -> server.runningCalls() == 0);
    }

    @Test
    void aThousandHandlersWaitAtOnce() throws Exception {
        int count = 1000;
        CountDownLatch arrived = new CountDownLatch(count), open = new CountDownLatch(1);
        crowd(count, new Server().unary("crowd.wait", Integer.class, Integer.class, (in, context) -> {
            arrived.countDown();
            open.await();
            return in;
        }), arrived, open::countDown);
    }

    @Test
    void tenThousandCallsInFlight() throws Exception {
        int count = 10_000;
        CountDownLatch arrived = new CountDownLatch(count);
        CompletableFuture<Void> open = new CompletableFuture<>();
        crowd(count, new Server(new ServerOptions().maxStreams(2 * count))
                .async("crowd.wait", Integer.class, Integer.class, (in, context) -> {
                    arrived.countDown();
                    return open.thenApply(any -> in);
                }), arrived, () -> open.complete(null));
    }

    private static void each(int threads, Runnable work) throws Exception {
        ExecutorService workers = Executors.newFixedThreadPool(threads);
        try {
            List<Future<?>> done = new ArrayList<>();
            for (int i = 0; i < threads; i++) {
                done.add(workers.submit(work));
            }
            for (Future<?> one : done) {
                one.get();
            }
        } finally {
            workers.shutdown();
        }
    }

    private static Server server() {
        return StreamTest.numbers()
                .unary("hello.greet", Person.class, String.class, (person, context) -> person.name());
    }

    @Test
    void manyCallsLeaveNothingBehind() throws Exception {
        Server server = server();
        Client client = kit.serve(server);
        each(20, () -> {
            for (int i = 0; i < 200; i++) {
                assertEquals("x", client.call("hello.greet", new Person("x"), String.class));
                int count = 0;
                for (Int64Value any : client.serverStream("numbers.Count", Int64Value.of(3), Int64Value.class)) {
                    count++;
                }
                assertEquals(3, count);
                try (var talk = client.bidi("numbers.Double", Int64Value.class, Int64Value.class)) {
                    talk.send(Int64Value.of(1)); // and left in the middle
                }
            }
        });
        Kit.eventually("the server forgets them", () -> server.runningCalls() == 0);
        server.close(); // what its methods are known by goes, too
        Kit.eventually("the ports forget them", () -> {
            System.gc(); // for streams of other tests, that nobody has closed
            return Port.known() == 0;
        });
    }

    /** Handles go while their calls run; no call that is waited for may be cut off. */
    @Test
    void theCollectorRacesWithCalls() throws Exception {
        Server server = server();
        kit.serve(server);
        String url = server.urls().get(0);
        AtomicBoolean stop = new AtomicBoolean();
        Thread collector = new Thread(() -> {
            while (!stop.get()) {
                System.gc();
            }
        });
        collector.start();
        try {
            each(4, () -> {
                for (int i = 0; i < 25; i++) {
                    // Its channel is referred to by nothing but the call.
                    assertEquals("x", Nebula.connect(url).client().call("hello.greet", new Person("x"), String.class));
                    int count = 0;
                    for (Int64Value any : Nebula.connect(url).client()
                            .serverStream("numbers.Count", Int64Value.of(20), Int64Value.class)) {
                        count++;
                    }
                    assertEquals(20, count);
                }
            });
        } finally {
            stop.set(true);
            collector.join();
        }
    }

    // ---- ends -------------------------------------------------------------------------------------------------------

    /** A server with one call under way, whose handler ends when told to, or when it is cancelled. */
    private final class Slow {
        final CountDownLatch entered = new CountDownLatch(1), leave = new CountDownLatch(1);
        final CountDownLatch cancelled = new CountDownLatch(1);
        final CompletableFuture<Integer> answer;
        final Server server = new Server(new ServerOptions().drainTimeout(Kit.PATIENCE)).announce("slow")
                .unary("slow.call", Integer.class, Integer.class, (in, context) -> {
                    context.onCancel(() -> {
                        cancelled.countDown();
                        leave.countDown();
                    });
                    entered.countDown();
                    leave.await();
                    return in;
                });

        Slow() throws InterruptedException {
            answer = kit.serve(server).callAsync("slow.call", 7, Integer.class);
            Kit.await(entered);
        }

        /** Begins to drain, and returns when it is seen. */
        CompletableFuture<Void> draining() throws InterruptedException {
            CompletableFuture<Void> drained = CompletableFuture.runAsync(server::drain);
            Kit.eventually("it withdraws", () -> {
                try {
                    Nebula.call("slow.none", 1, Integer.class);
                    return false;
                } catch (NebulaException failure) {
                    return failure.code() == Code.UNAVAILABLE;
                }
            });
            return drained;
        }
    }

    @Test
    void aDrainLetsCallsEnd() throws Exception {
        Slow slow = new Slow();
        CompletableFuture<Void> drained = slow.draining();
        slow.leave.countDown();
        assertEquals(7, slow.answer.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS));
        drained.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        slow.server.close();
        slow.server.close();
        assertTrue(slow.server.urls().isEmpty());
    }

    @Test
    void closeCutsCallsOffAndEndsADrain() throws Exception {
        Slow slow = new Slow();
        CompletableFuture<Void> drained = slow.draining();
        slow.server.close();
        drained.get(Kit.PATIENCE.toSeconds(), TimeUnit.SECONDS);
        Kit.await(slow.cancelled);
        assertEquals(Code.UNAVAILABLE, Kit.failure(slow.answer).code());
        assertThrows(IllegalStateException.class, slow.server::drain);
        assertThrows(IllegalStateException.class, () -> slow.server.setHealth("slow", true));
        assertThrows(IllegalStateException.class, () -> new Server().drain());
    }

    @Test
    void aProgramMayEndWithAllOpen() throws Exception {
        for (String code : new String[] {"0", "7"}) {
            Kit.Program program = code.equals("0")
                    ? kit.startJava(AbandonsProgram.class) : kit.startJava(AbandonsProgram.class, code);
            assertEquals("serving", program.line());
            NebulaException lost = Kit.failure(() -> Kit.byName().call("abandons.wait", 1, Integer.class));
            assertEquals(Code.UNAVAILABLE, lost.code());
            assertEquals(Fault.NETWORK, lost.fault());
            assertEquals(Integer.parseInt(code), program.exitCode());
        }
    }
}

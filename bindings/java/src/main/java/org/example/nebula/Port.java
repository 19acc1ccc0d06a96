// Port.java - the engine of this process and its ports: queues, each with a thread that polls it.
package org.example.nebula;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * All that the engine has to say is an event of a queue. A port takes the events of one queue, as many at once as there
 * are, and hands each to whoever its tag stands for. Its thread is a platform thread, since it waits in native code,
 * and a daemon: a program ends with its main thread, whoever is still called.
 */
final class Port extends Thread {
    /**
     * Who a tag stands for. Events of one call come one after the other, on the port's thread: nothing may block there.
     */
    interface Receiver {
        void receive(Port port, Event event);
    }

    static final System.Logger LOG = System.getLogger("org.example.nebula");

    private static final int EVENT_BYTES = 64;
    private static final AtomicLong lastTag = new AtomicLong();
    private static final AtomicInteger turn = new AtomicInteger();
    private static long engine;
    private static Port[] ports;

    final long queue;
    private final ByteBuffer events;
    private final Map<Long, Receiver> receivers = new ConcurrentHashMap<>();

    private Port(int number) {
        super("nebula-" + number);
        queue = Abi.queueNew(engine);
        events = Abi.queueEvents(queue).order(ByteOrder.nativeOrder());
        setDaemon(true);
    }

    /** All of them, made when first needed. The property nebula.registry chooses the registry, else NEBULA_REGISTRY. */
    static synchronized Port[] all() {
        if (ports == null) {
            engine = Abi.engineNew(Abi.text(System.getProperty("nebula.registry")));
            Port[] made = new Port[Math.max(1, Runtime.getRuntime().availableProcessors() / 2)];
            for (int i = 0; i < made.length; i++) {
                made[i] = new Port(i);
            }
            for (Port port : made) {
                port.start();
            }
            ports = made;
        }
        return ports;
    }

    /** The next one in turn. */
    static Port any() {
        Port[] all = all();
        return all[Math.floorMod(turn.getAndIncrement(), all.length)];
    }

    static long engine() {
        all();
        return engine;
    }

    static long newTag() {
        return lastTag.incrementAndGet();
    }

    /** Whoever would wait on a port's thread would wait for himself. */
    static void checkMayBlock() {
        if (Thread.currentThread() instanceof Port) {
            throw new IllegalStateException("this waits, on a thread that delivers answers: use the methods that return"
                    + " futures there, or thenApplyAsync and its like");
        }
    }

    void know(long tag, Receiver receiver) {
        receivers.put(tag, receiver);
    }

    void forget(long tag) {
        receivers.remove(tag);
    }

    /** How many tags stand for somebody, over all ports. */
    static int known() {
        int count = 0;
        for (Port port : all()) {
            count += port.receivers.size();
        }
        return count;
    }

    @Override
    public void run() {
        for (;;) {
            int count = Abi.poll(queue, -1);
            if (count < 0) {
                throw Abi.refusal(count); // it is never freed
            }
            for (int i = 0; i < count; i++) {
                Event event = event(i * EVENT_BYTES);
                Receiver receiver = receivers.get(event.tag());
                if (receiver != null) {
                    deliver(receiver, event);
                }
            }
        }
    }

    private void deliver(Receiver receiver, Event event) {
        try {
            receiver.receive(this, event);
        } catch (Throwable bug) { // of a callback; the other calls go on
            LOG.log(System.Logger.Level.ERROR, "a callback failed", bug);
        }
    }

    private Event event(int at) {
        return new Event(
                events.getLong(at), events.getLong(at + 8), events.getShort(at + 16), events.getShort(at + 18),
                events.getInt(at + 20), bytes(at + 24, at + 40), bytes(at + 32, at + 44), events.getLong(at + 56));
    }

    private byte[] bytes(int pointer, int size) {
        long address = events.getLong(pointer);
        return address == 0 ? null : Abi.bytes(address, events.getInt(size));
    }
}

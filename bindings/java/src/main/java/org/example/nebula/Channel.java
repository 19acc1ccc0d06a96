// Channel.java - channels: the way to services.
package org.example.nebula;

import java.lang.ref.Cleaner;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A way to reach services, for any number of threads. {@link #client} calls over it. It is closed by {@link #close}, or
 * when nothing refers to it, its clients or its calls any more.
 */
public final class Channel implements AutoCloseable {
    static final Cleaner CLEANER = Cleaner.create();

    /** The engine's channel: what must not refer to the Channel, so that that can be collected. */
    private static final class Handle implements Runnable {
        private record Key(String path, int shape) {}

        private final Map<Key, Long> numbers = new ConcurrentHashMap<>();
        private long address;

        long number(Method method, int shape) {
            Long known = numbers.get(new Key(method.path(), shape));
            return known == null ? ask(method, shape) : known;
        }

        private synchronized long ask(Method method, int shape) {
            if (address == 0) {
                throw NebulaException.unsent(Code.CANCELLED, "the channel is closed");
            }
            long number = Abi.channelMethod(address, Abi.text(method.path()), shape);
            if (number == 0) {
                throw NebulaException.unsent(Code.INVALID_ARGUMENT, "\"" + method.label() + "\" is no method's name");
            }
            numbers.put(new Key(method.path(), shape), number);
            return number;
        }

        @Override
        public synchronized void run() {
            long closing = address;
            address = 0;
            numbers.clear();
            Abi.channelFree(closing); // 0 is fine
        }
    }

    private static Channel common;

    private final String target;
    private volatile List<Filter> filters;
    private final Handle handle = new Handle();
    private final Cleaner.Cleanable cleanable;

    Channel(String target, ChannelOptions options) {
        this.target = target;
        filters = options.filters;
        handle.address = Abi.channelNew(
                Port.engine(), Abi.text(target), options.numbers, Tls.texts(options.tls), Abi.text(options.policy));
        cleanable = CLEANER.register(this, handle);
    }

    /** The one of all calls that name none: it finds services by their names. */
    static synchronized Channel common() {
        if (common == null) {
            common = new Channel("nebula:", new ChannelOptions());
        }
        return common;
    }

    /** Calls over this channel. */
    public Client client() {
        return new Client(this);
    }

    /** Drops the connections; calls that run end with CANCELLED. Harmless when repeated. */
    @Override
    public void close() {
        cleanable.clean();
    }

    List<Filter> filters() {
        return filters;
    }

    synchronized void use(Filter... more) {
        filters = Options.joined(filters, more);
    }

    /** The engine's number of a method, which it keeps for as long as the channel is open. */
    long number(Method method, int shape) {
        return handle.number(method, shape);
    }

    @Override
    public String toString() {
        return "nebula.Channel " + target;
    }
}

// Server.java - serving: methods are lambdas, each call has a thread while it is handled.
package org.example.nebula;

import com.google.protobuf.Descriptors.FileDescriptor;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/**
 * Answers for services. Register methods, then {@link #run} or {@link #start}.
 *
 * <pre>{@code
 * new Server().unary("hello.greet", Person.class, String.class, (person, context) -> "Hello " + person.name() +
 * "!").run(); }</pre>
 *
 * <p>Without {@link #listen} it is found by the names of its services: on a Unix socket and a port of 127.0.0.1.
 * Requests and answers are protobuf messages (which callers may also send as proto3's JSON), byte[], or any other type
 * as JSON, where a field that the type has not, or of another type, is refused before the handler runs. A method that
 * cannot be served is an IllegalArgumentException where it is registered, or fails the start.
 */
public final class Server implements AutoCloseable {
    private enum State { NOT_STARTED, STARTED, CLOSED }

    private final ServerOptions options;
    private final List<ServedMethod<?, ?>> methods = new ArrayList<>();
    private final Descriptors descriptors = new Descriptors();
    private final List<String> addresses = new ArrayList<>();
    private final List<CountDownLatch> drains = new ArrayList<>(); // who waits for the end of one
    private String announced;
    private State state = State.NOT_STARTED;
    private long handle;

    public Server() {
        this(new ServerOptions());
    }

    public Server(ServerOptions options) {
        this.options = options;
    }

    // ---- what it serves ---------------------------------------------------------------------------------------------

    /** tcp://host:port (0: any port), tls://host:port, unix:/path, mem:name. */
    public synchronized Server listen(String address) {
        addresses.add(address);
        return this;
    }

    /** Names to register; else those of the services if there is no address, else none. */
    public synchronized Server announce(String... names) {
        announced = String.join(",", names);
        return this;
    }

    /**
     * Registers a method: one request, one answer.
     *
     * @param name "hello.greet" or "/hello/greet"
     */
    public <In, Out> Server unary(String name, Class<In> request, Class<Out> answer, Handler.Unary<In, Out> handler) {
        return add(new ServedMethod<>(name, Abi.UNARY, request, answer, method -> (context, data) -> {
            method.answer(context, handler.handle(method.decode(context, data), context));
            return null;
        }));
    }

    /** Registers a method whose answer comes later. No thread waits for it, so any number of its calls may be open. */
    public <In, Out> Server async(String name, Class<In> request, Class<Out> answer, Handler.Async<In, Out> handler) {
        return add(new ServedMethod<>(name, Abi.UNARY, request, answer, method -> (context, data) ->
                handler.handle(method.decode(context, data), context).thenAccept(out -> method.answer(context, out))));
    }

    /** Registers a method that answers with many messages, until its handler returns. */
    public <In, Out> Server serverStream(
            String name, Class<In> request, Class<Out> answer, Handler.ServerStream<In, Out> handler) {
        return add(new ServedMethod<>(name, Abi.SERVER_STREAM, request, answer, method -> (context, data) -> {
            handler.handle(method.decode(context, data), streamOf(method, context), context);
            method.finish(context);
            return null;
        }));
    }

    /** Registers a method that answers many messages with one. */
    public <In, Out> Server clientStream(
            String name, Class<In> request, Class<Out> answer, Handler.ClientStream<In, Out> handler) {
        int shape = Abi.CLIENT_STREAM | Abi.HOLD;
        return add(new ServedMethod<>(name, shape, request, answer, method -> (context, data) -> {
            method.answer(context, handler.handle(streamOf(method, context), context));
            return null;
        }));
    }

    /** Registers a method that takes and gives many messages, until its handler returns. */
    public <In, Out> Server bidi(String name, Class<In> request, Class<Out> answer, Handler.Bidi<In, Out> handler) {
        return add(new ServedMethod<>(name, Abi.BIDI | Abi.HOLD, request, answer, method -> (context, data) -> {
            handler.handle(streamOf(method, context), context);
            method.finish(context);
            return null;
        }));
    }

    private static <In, Out> Stream<In, Out> streamOf(ServedMethod<In, Out> method, Context context) {
        Stream<In, Out> stream = new Stream<>(context, method.method.label(), method.in, method.out);
        if (context.filtered() != null) {
            stream.filter(context.filtered(), false);
        }
        return stream;
    }

    private synchronized Server add(ServedMethod<?, ?> method) {
        if (state != State.NOT_STARTED) {
            throw new IllegalStateException(method.method.label() + ": the server has started already");
        }
        methods.add(method);
        descriptors.add(method.in);
        descriptors.add(method.out);
        return this;
    }

    /** For grpc.reflection: a file that defines a service and none of its messages. Those of messages are known. */
    public synchronized Server describe(FileDescriptor file) {
        descriptors.add(file);
        return this;
    }

    // ---- its life ---------------------------------------------------------------------------------------------------

    /**
     * Listens and announces; when it returns every watcher on this host can see it. A server is started once. Its
     * threads are daemons: a program ends with its main thread, see {@link #run}.
     *
     * @throws EngineException an address that is taken, a method that is none, a file that cannot be read
     */
    public synchronized Server start() {
        if (state != State.NOT_STARTED) {
            throw new IllegalStateException("a server is started once");
        }
        handle = Abi.serverNew(Port.engine(), options.numbers);
        state = State.STARTED;
        try {
            for (ServedMethod<?, ?> method : methods) {
                register(method);
            }
            for (String service : services()) {
                check(Abi.serverSchema(handle, Abi.text(service), document(service)));
            }
            if (!descriptors.isEmpty()) {
                check(Abi.serverDescribe(handle, descriptors.set()));
            }
            for (String address : addresses.isEmpty() ? new String[1] : addresses.toArray(new String[0])) {
                boolean isTls = address != null && address.startsWith("tls:");
                Abi.serverListen(handle, Abi.text(address), Abi.text(announced), isTls ? Tls.texts(options.tls) : null);
            }
            Port[] ports = Port.all();
            long[] queues = new long[ports.length];
            for (int i = 0; i < ports.length; i++) {
                queues[i] = ports[i].queue;
            }
            Abi.serverStart(handle, queues);
            return this;
        } catch (RuntimeException refused) {
            stop();
            throw refused;
        }
    }

    /** The description of a service, for callers who send JSON. */
    private byte[] document(String service) {
        String[] shapes = {"unary", "client_stream", "server_stream", "bidi"};
        Schemas schemas = new Schemas();
        List<Map<String, Object>> described = new ArrayList<>();
        for (ServedMethod<?, ?> each : methods) {
            if (each.method.service().equals(service)) {
                described.add(Map.of("name", each.method.name(), "shape", shapes[each.shape & ~Abi.HOLD],
                        "request", schemas.of(each.in), "response", schemas.of(each.out)));
            }
        }
        return JsonCodec.write(Map.of("service", service, "methods", described, "$defs", schemas.definitions));
    }

    private void register(ServedMethod<?, ?> method) {
        method.serveOn(options.executor == null ? Threads.each() : options.executor, options.filters);
        for (Port port : Port.all()) {
            port.know(method.tag, method);
        }
        if (Abi.serverMethod(handle, Abi.text(method.method.path()), method.shape, method.tag) < 0) {
            throw new IllegalArgumentException(method.method.label() + ": taken, or no method");
        }
    }

    private static void check(int result) {
        if (result < 0) {
            throw Abi.refusal(result);
        }
    }

    private void checkRuns() {
        if (state != State.STARTED) {
            throw new IllegalStateException("the server does not run");
        }
    }

    /** The addresses in use, with the ports that were chosen; none while it does not run. */
    public synchronized List<String> urls() {
        return state == State.STARTED ? List.of(Abi.text(Abi.serverUrls(handle)).split(" ")) : List.of();
    }

    /** What grpc.health.v1 says of a service; "" is the server as a whole. */
    public synchronized void setHealth(String service, boolean isServing) {
        checkRuns();
        check(Abi.serverHealth(handle, Abi.text(service), isServing ? 1 : 2));
    }

    /**
     * Withdraws from the registry, sends clients elsewhere, and waits until running calls have ended; those that have
     * not within the drainTimeout of its options are cut off. {@link #close} ends it.
     */
    public void drain() {
        Port.checkMayBlock();
        Port first = Port.all()[0];
        long tag = Port.newTag();
        CountDownLatch done = new CountDownLatch(1);
        first.know(tag, (port, event) -> done.countDown());
        try {
            synchronized (this) {
                checkRuns();
                check(Abi.serverDrain(handle, Options.milliseconds(options.drainTimeout), tag));
                drains.add(done);
            }
            done.await();
        } catch (InterruptedException now) {
            throw NebulaException.interrupted();
        } finally {
            first.forget(tag);
        }
    }

    /** Stops at once: calls that run are cut off. Harmless when repeated. */
    @Override
    public void close() {
        synchronized (this) {
            if (state != State.STARTED) {
                return;
            }
            stop();
        }
        methods.forEach(ServedMethod::cutOff); // which runs what others have to do then
    }

    private void stop() {
        state = State.CLOSED;
        Abi.serverFree(handle);
        for (ServedMethod<?, ?> method : methods) {
            for (Port port : Port.all()) {
                port.forget(method.tag);
            }
        }
        drains.forEach(CountDownLatch::countDown);
    }

    /**
     * Starts, unless that was done, and serves until SIGINT or SIGTERM. Then it withdraws, lets running calls end, and
     * returns; a second signal ends the process at once. It prints one line per service when all can be called.
     */
    public void run() {
        new Running(this).run();
    }

    synchronized boolean hasStarted() {
        return state == State.STARTED;
    }

    /** The names of its services, each once. */
    synchronized List<String> services() {
        return methods.stream().map(each -> each.method.service()).distinct().toList();
    }

    /** How many calls are being handled. */
    synchronized int runningCalls() {
        return methods.stream().mapToInt(ServedMethod::runningCalls).sum();
    }
}

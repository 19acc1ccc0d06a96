// Client.java - calling: the four shapes, and what a call wants beyond its messages.
package org.example.nebula;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * Calls over a channel. Never changes: {@code with} gives another one, so it may be kept and shared by any number of
 * threads.
 *
 * <p>A method is "hello.greet" or "/hello/greet". Messages travel by their types: protobuf messages as protobuf, byte[]
 * as it is, all else as JSON (records, maps, lists, texts, numbers), which is checked against the service's description
 * before it is sent: what it does not take fails with INVALID_ARGUMENT, and names the field. A call made while a call is handled, on the
 * handler's thread (see {@link Context#current}), ends no later than that. What fails is a {@link NebulaException}.
 */
public final class Client {
    private final Channel channel;
    private Duration timeout; // null: none
    private Metadata metadata = Metadata.EMPTY;
    private int flags = Abi.COMPRESS;
    private Consumer<Metadata> headers;
    private Consumer<Metadata> trailers;
    private List<Filter> filters;

    Client(Channel channel) {
        this.channel = channel;
        filters = channel.filters();
    }

    private Client(Client other) {
        channel = other.channel;
        timeout = other.timeout;
        metadata = other.metadata;
        flags = other.flags;
        headers = other.headers;
        trailers = other.trailers;
        filters = other.filters;
    }

    private Client with(Consumer<Client> change) {
        Client changed = new Client(this);
        change.accept(changed);
        return changed;
    }

    /** Calls fail with DEADLINE_EXCEEDED so long after they began, here and at the server. */
    public Client withTimeout(Duration time) {
        return with(client -> client.timeout = time);
    }

    /** Calls send this metadata, after what they send already. */
    public Client withMetadata(String... namesAndValues) {
        return withMetadata(Metadata.of(namesAndValues));
    }

    public Client withMetadata(Metadata more) {
        return with(client -> client.metadata = metadata.with(more));
    }

    /** Calls wait for an instance until their deadline, rather than fail with UNAVAILABLE when there is none. */
    public Client waitForReady() {
        return with(client -> client.flags |= Abi.WAIT_FOR_READY);
    }

    /** Being executed twice does no harm. */
    public Client idempotent() {
        return with(client -> client.flags |= Abi.IDEMPOTENT);
    }

    /** Requests are compressed, whatever the channel's compression is. */
    public Client withCompression(Compression compression) {
        return with(client -> client.flags = flags & ~(Abi.GZIP | Abi.ZSTD) | compression.flag);
    }

    /** Who gets the metadata before the answer of a call with one; streams have {@link CallStream#headers}. Quick. */
    public Client withHeaders(Consumer<Metadata> receiver) {
        return with(client -> client.headers = receiver);
    }

    /** Who gets the metadata after the answer of a call with one, or with its error. Quick. */
    public Client withTrailers(Consumer<Metadata> receiver) {
        return with(client -> client.trailers = receiver);
    }

    /** Calls go through these filters, inside of those that they go through already. The first is the outermost. */
    public Client withFilters(Filter... more) {
        return with(client -> client.filters = Options.joined(filters, more));
    }

    // ---- calls ------------------------------------------------------------------------------------------------------

    /**
     * Calls a method of one request and one answer, and waits. Interrupted, it ends the call and fails with CANCELLED.
     */
    public <Out> Out call(String method, Object request, Class<Out> answer) {
        Port.checkMayBlock();
        if (!filters.isEmpty()) {
            return callFiltered(method, request, answer);
        }
        return UnaryCall.begin(outgoing(method, Abi.UNARY, Codec.ofValue(request), answer), request).await();
    }

    /**
     * Calls without waiting. Cancelling the future, or ending it otherwise, ends the call. What is chained to it runs
     * on the thread that delivers answers, and must not wait there; {@code thenApplyAsync} and its like may.
     */
    public <Out> CompletableFuture<Out> callAsync(String method, Object request, Class<Out> answer) {
        if (!filters.isEmpty()) {
            return Threads.callAside(() -> callFiltered(method, request, answer));
        }
        try {
            return UnaryCall.begin(outgoing(method, Abi.UNARY, Codec.ofValue(request), answer), request).future();
        } catch (NebulaException refused) {
            return CompletableFuture.failedFuture(refused);
        }
    }

    /** Calls a method that answers with many messages: iterate over them. */
    public <Out> CallStream<Void, Out> serverStream(String method, Object request, Class<Out> answer) {
        if (!filters.isEmpty()) {
            return openFiltered(
                    method, Abi.SERVER_STREAM, Codec.ofValue(request), request, Codec.of(Void.class), answer);
        }
        OutgoingCall<Out> call = outgoing(method, Abi.SERVER_STREAM | Abi.HOLD, Codec.ofValue(request), answer);
        return CallStream.open(call, Codec.of(Void.class), call.encode(request));
    }

    /** Calls a method that answers many messages with one: send them, then {@link CallStream#finish}. */
    public <In, Out> CallStream<In, Out> clientStream(String method, Class<In> request, Class<Out> answer) {
        return open(method, Abi.CLIENT_STREAM, Codec.of(request), answer);
    }

    /** Calls a method that takes and gives many messages, in any order. */
    public <In, Out> CallStream<In, Out> bidi(String method, Class<In> request, Class<Out> answer) {
        return open(method, Abi.BIDI, Codec.of(request), answer);
    }

    private <In, Out> CallStream<In, Out> open(String method, int shape, Codec<In> requests, Class<Out> answer) {
        if (!filters.isEmpty()) {
            return openFiltered(method, shape, requests, null, requests, answer);
        }
        return CallStream.open(outgoing(method, shape | Abi.HOLD, requests, answer), requests, null);
    }

    // ---- with filters -----------------------------------------------------------------------------------------------

    @SuppressWarnings("unchecked") // a filter answers with what the caller asks for
    private <Out> Out callFiltered(String name, Object request, Class<Out> answer) {
        FilteredCall call = new FilteredCall(methodOf(name), false, metadata, timeout, null, () -> request);
        long begun = System.nanoTime();
        try {
            return (Out) call.run(
                    filters, inner -> inside(inner, begun).call(name, inner.request(), answer), true);
        } catch (Exception failure) {
            throw Around.unchecked(failure);
        }
    }

    /** in: of the request or requests; requests: of what is still to be sent. */
    private <In, Out> CallStream<In, Out> openFiltered(
            String name, int shape, Codec<?> in, Object request, Codec<In> requests, Class<Out> answer) {
        OutgoingCall<Out> given = outgoing(name, shape | Abi.HOLD, in, answer);
        FilteredCall call = new FilteredCall(given.method(), true, metadata, timeout, null, () -> request);
        long begun = System.nanoTime();
        Around around = new Around();
        around.begin(filters, call);
        return CallStream.openAround(around, given, requests,
                inner -> inside(inner, begun).outgoing(name, shape | Abi.HOLD, in, answer));
    }

    /** Calls inside of the filters, in the time that is left. */
    private Client inside(FilteredCall inner, long begun) {
        return with(client -> {
            client.filters = List.of();
            client.metadata = inner.metadata();
            client.timeout = left(inner.timeout().orElse(null), begun);
            client.headers = received -> {
                inner.ended(received, null);
                if (headers != null) {
                    headers.accept(received);
                }
            };
            client.trailers = received -> {
                inner.ended(null, received);
                if (trailers != null) {
                    trailers.accept(received);
                }
            };
        });
    }

    /** Of what a filter has set and what the caller's own timeout leaves, the shorter. */
    private Duration left(Duration wanted, long begun) {
        if (timeout == null) {
            return wanted;
        }
        Duration left = timeout.minusNanos(System.nanoTime() - begun);
        return wanted == null || left.compareTo(wanted) < 0 ? left : wanted;
    }

    private static Method methodOf(String name) {
        try {
            return Method.of(name);
        } catch (IllegalArgumentException none) {
            throw NebulaException.unsent(Code.INVALID_ARGUMENT, none.getMessage());
        }
    }

    private <Out> OutgoingCall<Out> outgoing(String name, int shape, Codec<?> in, Class<Out> answer) {
        Codec<Out> out = Codec.of(answer);
        Method method = methodOf(name);
        if (in.flag == Abi.PROTO && out.flag == Abi.JSON) {
            throw NebulaException.unsent(Code.INVALID_ARGUMENT,
                    method.label() + ": a protobuf message is answered by one: let the answer's type be its class");
        }
        return new OutgoingCall<>(channel, method, channel.number(method, shape), Context.microseconds(method, timeout),
                metadata.pack(), flags | in.flag | (in.flag == Abi.JSON ? Abi.CHECK : 0), in, out, headers, trailers);
    }
}

// UnaryCall.java - one request, one answer.
package org.example.nebula;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/** Waits for the end of one call. The port knows it until then, so neither it nor its channel is collected before. */
final class UnaryCall<Out> implements Port.Receiver {
    // How the engine begins its word on a unary call whose peer answered otherwise.
    private static final String NOT_ONE_ANSWER = "this method answers with one message";

    private final OutgoingCall<Out> outgoing;
    private final CompletableFuture<Event> ended = new CompletableFuture<>();
    private long call;
    private Context.Child child;

    private UnaryCall(OutgoingCall<Out> outgoing) {
        this.outgoing = outgoing;
    }

    static <Out> UnaryCall<Out> begin(OutgoingCall<Out> outgoing, Object request) {
        UnaryCall<Out> begun = new UnaryCall<>(outgoing);
        int flags = Abi.END | (outgoing.headers() == null ? 0 : Abi.WANT_HEADERS);
        begun.call = outgoing.start(Port.any(), begun, outgoing.encode(request), flags);
        begun.child = Context.adopt(begun.call);
        return begun;
    }

    @Override
    public void receive(Port port, Event event) {
        if (event.kind() == Abi.EV_HEADERS) {
            outgoing.headers().accept(Metadata.unpack(event.metadata()));
        } else if (event.kind() == Abi.EV_FINISHED) {
            port.forget(event.tag());
            try {
                if (outgoing.trailers() != null) {
                    outgoing.trailers().accept(Metadata.unpack(event.metadata()));
                }
            } finally {
                ended.complete(event);
            }
        }
    }

    Out await() {
        try {
            return answer(ended.get());
        } catch (InterruptedException now) {
            Abi.callCancel(call, Code.CANCELLED.ordinal());
            throw NebulaException.interrupted();
        } catch (ExecutionException cannotBe) {
            throw new AssertionError(cannotBe);
        } finally {
            Context.release(child);
        }
    }

    CompletableFuture<Out> future() {
        CompletableFuture<Out> future = new CompletableFuture<>();
        ended.thenAccept(event -> {
            Context.release(child);
            try {
                future.complete(answer(event));
            } catch (Throwable failure) { // a NebulaException, or what a message's class has thrown
                future.completeExceptionally(failure);
            }
        });
        future.whenComplete((value, failure) -> {
            if (!ended.isDone()) { // its user has ended it
                Abi.callCancel(call, Code.CANCELLED.ordinal());
            }
        });
        return future;
    }

    private Out answer(Event event) {
        String label = outgoing.method().label();
        if (event.status() != 0) {
            NebulaException failure = NebulaException.of(event);
            if (failure.code() == Code.UNIMPLEMENTED && failure.getMessage().startsWith(NOT_ONE_ANSWER)) {
                throw failure.saying(label + " answers with a stream: Client.serverStream calls it");
            }
            throw failure;
        }
        if (event.data() == null) {
            throw NebulaException.malformed(label, "there is no message");
        }
        try {
            return outgoing.decode(event.data());
        } catch (Codec.Malformed why) {
            throw NebulaException.malformed(label, why.getMessage());
        }
    }
}

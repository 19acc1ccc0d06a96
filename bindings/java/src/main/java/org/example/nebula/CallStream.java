// CallStream.java - a streaming call, as its caller has it.
package org.example.nebula;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.function.Function;

/**
 * Sends requests and receives answers. One thread may send while another receives. It ends when both sides have ended,
 * at its deadline, by {@link #close}, and when nothing refers to it any more.
 */
public final class CallStream<In, Out> extends MessageStream<Out, In> implements AutoCloseable {
    /**
     * The call, for as long as the port knows it. It does not refer to its user's stream, so that that can be
     * collected.
     */
    private static final class Call implements Port.Receiver, Runnable, Around.Begun {
        final MessageFlow flow = new MessageFlow(0);
        final OutgoingCall<?> outgoing; // with the channel: collected, that would end the call
        volatile Metadata headers;
        volatile Event last;
        volatile Context.Child child;
        volatile Around around; // its filters; null: there are none

        Call(OutgoingCall<?> outgoing) {
            this.outgoing = outgoing;
        }

        @Override
        public void receive(Port port, Event event) {
            if (event.kind() == Abi.EV_HEADERS) {
                flow.update(() -> headers = Metadata.unpack(event.metadata()));
            } else if (event.kind() != Abi.EV_FINISHED) {
                flow.on(event);
            } else {
                port.forget(event.tag());
                if (event.status() == 0 && event.data() != null) { // the single answer to a stream of requests
                    flow.on(event);
                }
                last = event;
                Context.release(child);
                flow.end();
            }
        }

        /** Ends the call: its user has closed the stream, or lost it. */
        @Override
        public void run() {
            if (last == null) {
                Abi.callCancel(flow.call, Code.CANCELLED.ordinal());
            }
            if (around != null) {
                around.leave();
            }
        }

        @Override
        public Event end() {
            flow.await(flow::isOver);
            return last;
        }

        @Override
        public Metadata headers() {
            return headers;
        }
    }

    private final Call call;
    private final Cleaner.Cleanable cleanable;

    private CallStream(Call call, Codec<Out> in, Codec<In> out) {
        super(call.flow, in, out, call.outgoing.in().flag == Abi.JSON);
        this.call = call;
        cleanable = Channel.CLEANER.register(this, call);
    }

    /** data: the only request; null: they are still to come. */
    static <In, Out> CallStream<In, Out> open(OutgoingCall<Out> outgoing, Codec<In> requests, byte[] data) {
        Call call = new Call(outgoing);
        int flags = Abi.WANT_HEADERS | (data == null ? 0 : Abi.END);
        call.flow.call = outgoing.start(Port.any(), call, data, flags);
        call.child = Context.adopt(call.flow.call);
        if (call.last != null) { // it had nobody to release
            Context.release(call.child);
        }
        return new CallStream<>(call, outgoing.out(), requests);
    }

    /** Opens it when its filters have let it through. outgoing: of the innermost one's call. */
    static <In, Out> CallStream<In, Out> openAround(
            Around around, OutgoingCall<Out> given, Codec<In> requests,
            Function<FilteredCall, OutgoingCall<Out>> outgoing) {
        FilteredCall innermost = around.opening();
        if (innermost != null) {
            try {
                OutgoingCall<Out> letThrough = outgoing.apply(innermost);
                Object request = innermost.request();
                CallStream<In, Out> stream =
                        open(letThrough, requests, request == null ? null : letThrough.encode(request));
                stream.call.around = around;
                stream.filter(innermost, true);
                around.begun(stream.call);
                return stream;
            } catch (RuntimeException refused) {
                around.refused(refused);
            }
        }
        around.end();
        Call none = new Call(given);
        none.last = new Event(0, 0, Abi.EV_FINISHED, 0, 0, null, null, 0);
        none.flow.end();
        return new CallStream<>(none, given.out(), requests);
    }

    @Override
    boolean sendsJson() {
        return false; // a request travels as its type has it
    }

    /** Tells the peer that no more messages come. Answers still may. */
    public void end() {
        submit(null, Abi.END);
    }

    /** Does so, and waits for the single answer to a stream of requests. */
    public Out finish() {
        end();
        Out answer = receive();
        if (answer == null) {
            throw NebulaException.malformed(label(), "there is no message");
        }
        return answer;
    }

    /** Waits for the metadata that comes before the first answer. */
    public Metadata headers() {
        try {
            flow.await(() -> call.headers != null || flow.isOver());
            NebulaException failure = call.headers == null ? failure() : null;
            if (failure != null) {
                throw failure;
            }
            return call.headers == null ? Metadata.EMPTY : call.headers;
        } finally {
            Reference.reachabilityFence(this);
        }
    }

    /** The metadata that came after the last answer; empty as long as it has not. */
    public Metadata trailers() {
        return call.last == null ? Metadata.EMPTY : Metadata.unpack(call.last.metadata());
    }

    /** Ends the call, at the peer too. Harmless when it has ended. */
    @Override
    public void close() {
        cleanable.clean();
    }

    @Override
    NebulaException failure() {
        flow.await(flow::isOver); // the end of the answers comes with that of the call
        if (call.around != null) {
            call.around.end();
            return null;
        }
        return call.last.status() == 0 ? null : NebulaException.of(call.last);
    }

    @Override
    NebulaException unreadable(String why) {
        close();
        return NebulaException.malformed(label(), why);
    }

    private String label() {
        return call.outgoing.method().label();
    }
}

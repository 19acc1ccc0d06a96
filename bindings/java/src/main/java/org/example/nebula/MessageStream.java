// MessageStream.java - what both ends of a streaming call have in common.
package org.example.nebula;

import java.lang.ref.Reference;
import java.util.Iterator;
import java.util.NoSuchElementException;

/** Receives messages of type R and sends messages of type S. One thread may receive while another sends. */
abstract class MessageStream<R, S> implements Reader<R>, Writer<S> {
    final MessageFlow flow;
    private final Codec<R> in;
    private final Codec<S> out;
    private final boolean asJson;
    private FilteredCall filtered; // the innermost filter's; null: there are none
    private boolean isCaller;

    MessageStream(MessageFlow flow, Codec<R> in, Codec<S> out, boolean asJson) {
        this.flow = flow;
        this.in = in;
        this.out = out;
        this.asJson = asJson;
    }

    /** Messages go by way of filters. */
    final void filter(FilteredCall innermost, boolean isCallers) {
        filtered = innermost;
        isCaller = isCallers;
    }

    @SuppressWarnings("unchecked") // a filter gives messages of the type that it gets
    private R changedIn(R message) {
        return (R) (isCaller ? filtered.changeAnswer(message) : filtered.changeRequest(message));
    }

    @SuppressWarnings("unchecked") // as above
    private S changedOut(S message) {
        return (S) (isCaller ? filtered.changeRequest(message) : filtered.changeAnswer(message));
    }

    /** How the call ended; null: well. Asked when it is over, or when the peer sends no more. */
    abstract NebulaException failure();

    /** The error of a message that cannot be read; ends the call where that is ours to do. */
    abstract NebulaException unreadable(String why);

    /** Messages to be sent travel by proto3's JSON mapping. */
    boolean sendsJson() {
        return asJson;
    }

    @Override
    public R receive() {
        byte[] data = next();
        return data == null ? null : decode(data);
    }

    @Override
    public Iterator<R> iterator() {
        return new Iterator<>() {
            private byte[] ahead;

            @Override
            public boolean hasNext() {
                if (ahead == null) {
                    ahead = MessageStream.this.next();
                }
                return ahead != null;
            }

            @Override
            public R next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                byte[] data = ahead;
                ahead = null;
                return decode(data);
            }
        };
    }

    private byte[] next() {
        try {
            byte[] data = flow.receive();
            NebulaException failure = data == null ? failure() : null;
            if (failure != null) {
                throw failure;
            }
            return data;
        } finally {
            Reference.reachabilityFence(this); // collected, a caller's stream would be cancelled
        }
    }

    private R decode(byte[] data) {
        R message;
        try {
            message = in.decode(data, asJson);
        } catch (Codec.Malformed why) {
            throw unreadable(why.getMessage());
        }
        return filtered == null ? message : changedIn(message);
    }

    @Override
    public boolean send(S message) {
        byte[] data;
        try {
            data = out.encode(filtered == null ? message : changedOut(message), sendsJson());
        } catch (Codec.Malformed why) {
            throw NebulaException.unsent(Code.INVALID_ARGUMENT, "the message cannot be encoded: " + why.getMessage());
        }
        return submit(data, Abi.COMPRESS);
    }

    /** data null: no message. false: the call has ended well. */
    final boolean submit(byte[] data, int flags) {
        try {
            switch (flow.send(data, flags)) {
                case TAKEN:
                    return true;
                case STREAM_HAS_ENDED:
                    throw new IllegalStateException("the stream of messages to send has ended");
                default:
            }
            flow.await(flow::isOver); // its last event may still be on its way
            NebulaException failure = failure();
            if (failure != null) {
                throw failure;
            }
            return false;
        } finally {
            Reference.reachabilityFence(this);
        }
    }
}

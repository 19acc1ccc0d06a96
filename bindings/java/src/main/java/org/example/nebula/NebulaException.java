// NebulaException.java - how a call ends when it does not end well.
package org.example.nebula;

import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

/**
 * A failed call: thrown by clients, and by a handler that wants its caller to see this code and message.
 *
 * <pre>{@code throw new NebulaException(Code.NOT_FOUND, "no order 7");}</pre>
 */
public final class NebulaException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final Code code;
    private final transient Metadata trailers;
    private final Fate fate;
    private final Fault fault;

    public NebulaException(Code code, String message) {
        this(code, message, Metadata.EMPTY);
    }

    /** trailers: metadata that goes to the caller with the error. */
    public NebulaException(Code code, String message, Metadata trailers) {
        this(code, message, trailers, null, null);
        if (code == Code.OK) {
            throw new IllegalArgumentException("an error has a code other than OK");
        }
    }

    private NebulaException(Code code, String message, Metadata trailers, Fate fate, Fault fault) {
        super(message);
        this.code = code;
        this.trailers = trailers;
        this.fate = fate;
        this.fault = fault;
    }

    public Code code() {
        return code;
    }

    /** The metadata that came with the error. */
    public Metadata trailers() {
        return trailers == null ? Metadata.EMPTY : trailers; // null: it was serialized
    }

    /** How far the request got; null: this is not from a call of ours. */
    public Fate fate() {
        return fate;
    }

    /** Whose fault it is; null: this is not from a call of ours. */
    public Fault fault() {
        return fault;
    }

    @Override
    public String toString() {
        String message = getMessage();
        return getClass().getName() + ": " + code + (message == null || message.isEmpty() ? "" : ": " + message);
    }

    /** The error of a call of ours that has ended with this event. */
    static NebulaException of(Event finished) {
        int outcome = (int) finished.value();
        return new NebulaException(
                Code.of(finished.status()), Abi.text(finished.data()), Metadata.unpack(finished.metadata()),
                Fate.values()[outcome & 3], Fault.values()[Math.min(outcome >> 8 & 255, Fault.OVERLOAD.ordinal())]);
    }

    /** The same in other words. */
    NebulaException saying(String message) {
        return new NebulaException(code, message, trailers, fate, fault);
    }

    /** The error of a call that is not made. */
    static NebulaException unsent(Code code, String message) {
        return new NebulaException(code, message, Metadata.EMPTY, Fate.UNSENT, Fault.CALLER);
    }

    /** The error of a call whose answer cannot be read. */
    static NebulaException malformed(String method, String why) {
        return new NebulaException(
                Code.INTERNAL, method + ": malformed answer: " + why, Metadata.EMPTY, Fate.PROCESSED, Fault.CALLEE);
    }

    /** The thread that waits was interrupted, and still is. */
    static NebulaException interrupted() {
        Thread.currentThread().interrupt();
        return new NebulaException(Code.CANCELLED, "interrupted", Metadata.EMPTY, Fate.UNKNOWN, Fault.CALLER);
    }

    /** The one that a handler meant, also where a future has wrapped it; null: it meant none. */
    static NebulaException in(Throwable thrown) {
        while (thrown instanceof CompletionException || thrown instanceof ExecutionException) {
            thrown = thrown.getCause();
        }
        return thrown instanceof NebulaException failure ? failure : null;
    }
}

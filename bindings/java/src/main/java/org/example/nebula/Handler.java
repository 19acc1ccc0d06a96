// Handler.java - what a server runs for the calls of a method.
package org.example.nebula;

import java.util.concurrent.CompletionStage;

/**
 * The shapes of handlers. What one throws is what its caller sees: a NebulaException as it is, any other as UNKNOWN.
 */
public final class Handler {
    private Handler() {}

    /** One request, one answer. */
    public interface Unary<In, Out> {
        Out handle(In request, Context context) throws Exception;
    }

    /** One request, and an answer that comes later, from whatever thread. */
    public interface Async<In, Out> {
        CompletionStage<Out> handle(In request, Context context) throws Exception;
    }

    /** One request, many answers. */
    public interface ServerStream<In, Out> {
        void handle(In request, Writer<Out> answers, Context context) throws Exception;
    }

    /** Many requests, one answer. */
    public interface ClientStream<In, Out> {
        Out handle(Reader<In> requests, Context context) throws Exception;
    }

    /** Many requests, many answers. */
    public interface Bidi<In, Out> {
        void handle(Stream<In, Out> stream, Context context) throws Exception;
    }
}

// Stream.java - a streaming call, as its handler has it.
package org.example.nebula;

/** Receives the messages of a caller and sends answers. One thread may receive while another sends. */
public final class Stream<In, Out> extends MessageStream<In, Out> {
    private final Context context;
    private final String label;

    Stream(Context context, String label, Codec<In> in, Codec<Out> out) {
        super(context.flow, in, out, context.asJson);
        this.context = context;
        this.label = label;
    }

    @Override
    NebulaException failure() {
        return context.failure();
    }

    @Override
    NebulaException unreadable(String why) {
        return ServedMethod.badRequest(label, why);
    }
}

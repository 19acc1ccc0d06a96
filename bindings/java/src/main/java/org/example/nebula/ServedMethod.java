// ServedMethod.java - a method of a server: the receiver of all events of its calls.
package org.example.nebula;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;

final class ServedMethod<In, Out> implements Port.Receiver {
    /** What runs for each call. null: it has answered; else that comes with the stage, or its failure does. */
    interface Serving {
        CompletionStage<?> serve(Context context, byte[] request) throws Exception;
    }

    // A message of an error travels in the trailers, which have little room.
    private static final int ERROR_BYTES_MAX = 2000;

    final Method method;
    final int shape;
    final Codec<In> in;
    final Codec<Out> out;
    final long tag = Port.newTag();
    private final Serving serving;
    private final Map<Long, Context> running = new ConcurrentHashMap<>();
    private Executor executor;
    private List<Filter> filters;

    ServedMethod(String name, int shape, Class<In> request, Class<Out> answer, Serves<In, Out> serves) {
        method = Method.of(name);
        this.shape = shape;
        in = Codec.of(request);
        out = Codec.of(answer);
        if (in.flag != out.flag && in.flag != 0 && out.flag != 0) {
            throw new IllegalArgumentException(
                    method.label() + ": request and answer must be both protobuf messages, or both none");
        }
        serving = serves.of(this);
    }

    /** A handler's adapter, made once the method is there. */
    interface Serves<In, Out> {
        Serving of(ServedMethod<In, Out> method);
    }

    void serveOn(Executor handlers, List<Filter> around) {
        executor = handlers;
        filters = around;
    }

    /** The codec of its messages, where bytes go with any: Abi.JSON, Abi.PROTO, or 0. */
    int codec() {
        return in.flag | out.flag;
    }

    // ---- calls ------------------------------------------------------------------------------------------------------

    @Override
    public void receive(Port port, Event event) {
        if (event.kind() == Abi.EV_CALL) {
            begin(event);
            return;
        }
        Context context = running.get(event.call());
        if (context == null) {
            return;
        }
        if (event.kind() == Abi.EV_CANCELLED) {
            running.remove(event.call()); // its last event
            context.die(Code.of(event.status()));
        } else {
            context.flow.on(event);
        }
    }

    private void begin(Event event) {
        Context context = new Context(method, event);
        NebulaException refusal = refusalOf(event);
        if (refusal != null) {
            fail(context, refusal);
            return;
        }
        running.put(event.call(), context);
        try {
            executor.execute(() -> run(context, event.data()));
        } catch (RuntimeException | OutOfMemoryError full) { // no room in its queue, no thread to be had
            fail(context, new NebulaException(Code.RESOURCE_EXHAUSTED, method.label() + ": the server is too busy"));
            done(context);
        }
    }

    private void run(Context context, byte[] request) {
        CompletionStage<?> later = null;
        try {
            later = context.run(() -> filters.isEmpty() ? serving.serve(context, request) : filtered(context, request));
        } catch (Throwable failure) {
            fail(context, failure);
        }
        if (later == null) {
            done(context);
        } else {
            later.whenComplete((any, failure) -> {
                if (failure != null) {
                    fail(context, failure);
                }
                done(context);
            });
        }
    }

    /** Runs the filters around the handler, and answers when they have ended. */
    private CompletionStage<?> filtered(Context context, byte[] request) throws Exception {
        FilteredCall call = new FilteredCall(method, (shape & ~Abi.HOLD) != Abi.UNARY, context.metadata(),
                context.timeLeft().orElse(null), context, () -> request == null ? null : read(context, request));
        boolean hasAnswer = (shape & Abi.SERVER_STREAM) == 0; // nor that of bidi
        Object answer = call.run(filters, innermost -> {
            context.filter(innermost);
            CompletionStage<?> later = serving.serve(context, request);
            if (later != null) {
                waitFor(later);
            }
            return context.answer();
        }, hasAnswer);
        submit(context, hasAnswer ? encoded(context, answer) : null);
        return null;
    }

    private static void waitFor(CompletionStage<?> later) throws Exception {
        Port.checkMayBlock();
        try {
            later.toCompletableFuture().get();
        } catch (ExecutionException failed) {
            if (failed.getCause() instanceof Exception failure) {
                throw failure;
            }
            throw failed;
        }
    }

    private void done(Context context) {
        running.remove(context.flow.call);
        context.end();
    }

    /** The server is closed: nobody waits for answers. */
    void cutOff() {
        running.values().forEach(context -> context.die(Code.CANCELLED));
    }

    int runningCalls() {
        return running.size();
    }

    // ---- messages ---------------------------------------------------------------------------------------------------

    @SuppressWarnings("unchecked") // a filter gives messages of the type that it gets
    In decode(Context context, byte[] data) {
        FilteredCall filtered = context.filtered();
        return filtered == null ? read(context, data) : (In) filtered.request();
    }

    private In read(Context context, byte[] data) {
        try {
            return in.decode(data, context.asJson);
        } catch (Codec.Malformed why) {
            throw badRequest(method.label(), why.getMessage());
        }
    }

    /** Sends the single answer. */
    void answer(Context context, Out message) {
        if (context.filtered() != null) {
            context.setAnswer(message); // which goes when the filters have ended
        } else {
            submit(context, encoded(context, message));
        }
    }

    @SuppressWarnings("unchecked") // as above
    private byte[] encoded(Context context, Object message) {
        try {
            return out.encode((Out) message, context.asJson);
        } catch (Codec.Malformed why) {
            String text = method.label() + ": the result cannot be encoded: " + why.getMessage();
            Port.LOG.log(System.Logger.Level.ERROR, text);
            throw new NebulaException(Code.INTERNAL, text);
        }
    }

    /** Ends a stream of answers. */
    void finish(Context context) {
        if (context.filtered() == null) { // else when those have ended
            submit(context, null);
        }
    }

    private void submit(Context context, byte[] data) {
        byte[] trailers = context.trailers();
        int result = 0;
        if (trailers == null) {
            result = Abi.callSend(context.flow.call, data, Abi.END | Abi.COMPRESS);
        } else {
            if (data != null) {
                result = Abi.callSend(context.flow.call, data, Abi.COMPRESS);
            }
            if (result >= 0) {
                result = Abi.callFinish(context.flow.call, Code.OK.ordinal(), null, trailers);
            }
        }
        if (result < 0 && result != Abi.E_STALE) {
            Port.LOG.log(System.Logger.Level.ERROR, method.label() + ": the answer was not sent", Abi.refusal(result));
        }
    }

    /** Ends the call with what its handler has thrown. */
    private void fail(Context context, Throwable thrown) {
        NebulaException meant = NebulaException.in(thrown);
        if (meant == null) {
            Port.LOG.log(System.Logger.Level.ERROR, method.label() + " failed", thrown);
            meant = new NebulaException(Code.UNKNOWN, method.label() + " threw " + thrown);
        }
        byte[] trailers = meant.trailers().pack();
        Abi.callFinish(context.flow.call, meant.code().ordinal(), sendable(meant.getMessage()),
                trailers == null ? context.trailers() : trailers);
    }

    /** Not too long, and cut between two characters. */
    private static byte[] sendable(String message) {
        byte[] text = Abi.text(message);
        if (text == null || text.length <= ERROR_BYTES_MAX + 1) {
            return text;
        }
        try {
            return Abi.text(StandardCharsets.UTF_8.newDecoder().onMalformedInput(CodingErrorAction.IGNORE)
                    .decode(ByteBuffer.wrap(text, 0, ERROR_BYTES_MAX)).toString());
        } catch (CharacterCodingException cannotBe) {
            throw new AssertionError(cannotBe);
        }
    }

    /** Of a codec that is not the method's; null: it is. The method's own is that of `application/grpc` alone. */
    private NebulaException refusalOf(Event call) {
        if (call.has(Abi.JSON) || codec() == 0) {
            return null;
        }
        String type = Metadata.unpack(call.metadata()).get("content-type"); // an unusual one travels as this field
        if (call.has(Abi.PROTO)) {
            type = codec() == Abi.PROTO ? null : "application/grpc+proto";
        }
        if (type == null || !type.startsWith("application/grpc+")) {
            return null;
        }
        String accepted = (codec() == Abi.PROTO ? "application/grpc+proto and " : "") + "application/grpc+json";
        return new NebulaException(Code.UNIMPLEMENTED, method.label() + " accepts " + accepted + ", not " + type);
    }

    static NebulaException badRequest(String label, String why) {
        return new NebulaException(Code.INVALID_ARGUMENT, label + (why.startsWith("has no field") ? " " : ": ") + why);
    }
}

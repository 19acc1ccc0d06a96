// FilteredCall.java - a call as one filter sees it.
package org.example.nebula;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * What a filter changes here is seen by the filters inside of it, and by the call itself; what those change does not
 * come back. For the filter's thread.
 */
public final class FilteredCall {
    /** What runs inside of all filters. */
    interface Last {
        Object run(FilteredCall innermost) throws Exception;
    }

    /** How the call ended, as far as metadata tells: all filters of a call share it. */
    private static final class End {
        Metadata headers = Metadata.EMPTY;
        Metadata trailers = Metadata.EMPTY;
    }

    private final Method method;
    private final boolean isStream;
    private final Context context; // null: on a client
    private final FilteredCall outer;
    private final End end;
    private final List<UnaryOperator<Object>> requests = new ArrayList<>();
    private final List<UnaryOperator<Object>> answers = new ArrayList<>();
    private Supplier<Object> read; // gives the request; null: it has been read
    private Object request;
    private Metadata metadata;
    private Duration timeout; // null: none

    FilteredCall(
            Method method, boolean isStream, Metadata metadata, Duration timeout, Context context,
            Supplier<Object> read) {
        this(method, isStream, metadata, timeout, context, read, null, new End());
    }

    private FilteredCall(
            Method method, boolean isStream, Metadata metadata, Duration timeout, Context context,
            Supplier<Object> read, FilteredCall outer, End end) {
        this.method = method;
        this.isStream = isStream;
        this.metadata = metadata;
        this.timeout = timeout;
        this.context = context;
        this.read = read;
        this.outer = outer;
        this.end = end;
    }

    /** The path of the method: "/hello/greet". */
    public String method() {
        return method.path();
    }

    /** Whether there are many messages, in either direction. Next is run once for such a call. */
    public boolean isStream() {
        return isStream;
    }

    /** What goes to the server beside the request, or has come from the client. */
    public Metadata metadata() {
        return metadata;
    }

    public void setMetadata(Metadata other) {
        metadata = other;
    }

    /** Until the call fails with DEADLINE_EXCEEDED; empty: never. On a server it is what the caller has left. */
    public Optional<Duration> timeout() {
        return Optional.ofNullable(timeout);
    }

    /** On a client; it does not get longer than the caller of the call has said. */
    public void setTimeout(Duration time) {
        timeout = time;
    }

    /**
     * The single request, as the caller gave it or the handler is to get it; null of a stream of requests.
     *
     * @throws NebulaException on a server: it is malformed
     */
    public Object request() {
        if (read != null) {
            request = read.get();
            read = null;
        }
        return request;
    }

    /** Another message of the same type in its place. */
    public void setRequest(Object message) {
        request = message;
        read = null;
    }

    /**
     * Change gets each request that passes, also a single one; what it returns goes on in its place. To be said before
     * next.
     */
    public void onRequest(UnaryOperator<Object> change) {
        requests.add(change);
    }

    /** The same for each answer. */
    public void onAnswer(UnaryOperator<Object> change) {
        answers.add(change);
    }

    /** On a server who calls, as {@link Context#peer}; "" on a client. */
    public String peer() {
        return context == null ? "" : context.peer();
    }

    /** What the handler has, on a server; null on a client. */
    public Context context() {
        return context;
    }

    /** The metadata that came before the answer, on a client and after next. */
    public Metadata headers() {
        return end.headers;
    }

    /** After next, the metadata that came after the answer or with the error; on a server, that goes. */
    public Metadata trailers() {
        return context == null ? end.trailers : Metadata.unpack(context.trailers());
    }

    // ---- from filter to filter --------------------------------------------------------------------------------------

    void ended(Metadata headers, Metadata trailers) {
        end.headers = headers == null ? end.headers : headers;
        end.trailers = trailers == null ? end.trailers : trailers;
    }

    /** Runs the filters around last; the result is the single answer, if the call has one. */
    Object run(List<Filter> filters, Last last, boolean hasAnswer) throws Exception {
        return inside(filters, last, hasAnswer).run();
    }

    private Filter.Next inside(List<Filter> filters, Last last, boolean hasAnswer) {
        return new Filter.Next() {
            private boolean hasRun;

            @Override
            public Object run() throws Exception {
                if (hasRun && isStream) {
                    throw new IllegalStateException(method.label() + ": next is run once for a stream");
                }
                hasRun = true;
                FilteredCall inner = new FilteredCall(method, isStream, metadata, timeout, context,
                        FilteredCall.this::changedRequest, FilteredCall.this, end);
                Object answer = filters.isEmpty() ? last.run(inner) : filters.get(0).filter(
                        inner, inner.inside(filters.subList(1, filters.size()), last, hasAnswer));
                return hasAnswer ? through(answers, answer) : null;
            }
        };
    }

    private Object changedRequest() {
        Object message = request();
        return message == null ? null : through(requests, message);
    }

    private static Object through(List<UnaryOperator<Object>> changes, Object message) {
        for (UnaryOperator<Object> change : changes) {
            message = change.apply(message);
        }
        return message;
    }

    /** What each of a stream of requests goes through: the outermost filter comes first. */
    Object changeRequest(Object message) {
        return through(requests, outer == null ? message : outer.changeRequest(message));
    }

    /** The same of answers: the innermost filter comes first. */
    Object changeAnswer(Object message) {
        Object changed = through(answers, message);
        return outer == null ? changed : outer.changeAnswer(changed);
    }
}

// Around.java - the filters of a client's stream, which run on a thread of their own while its user has it in hand.
package org.example.nebula;

import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;

final class Around {
    /** A stream that has begun, as the filters wait for its end. */
    interface Begun {
        /** Waits until it is over, and gives how. */
        Event end();

        Metadata headers();
    }

    // What the filters have let through; null: they have ended without.
    private final CompletableFuture<FilteredCall> letThrough = new CompletableFuture<>();
    private final CompletableFuture<Begun> begun = new CompletableFuture<>();
    private final CompletableFuture<Void> taken = new CompletableFuture<>(); // its user takes no more
    private final CompletableFuture<Object> result = new CompletableFuture<>();

    void begin(List<Filter> filters, FilteredCall call) {
        Callable<Object> work = Context.inherited(() -> call.run(filters, this::last, false));
        Threads.each().execute(() -> {
            try {
                result.complete(work.call());
            } catch (Throwable failure) {
                result.completeExceptionally(failure);
            } finally {
                letThrough.complete(null);
            }
        });
    }

    private Object last(FilteredCall innermost) {
        letThrough.complete(innermost);
        Begun stream = waitFor(begun);
        Event end = stream.end();
        if (end.status() == 0) {
            waitFor(taken);
        }
        innermost.ended(stream.headers(), Metadata.unpack(end.metadata()));
        if (end.status() != 0) {
            throw NebulaException.of(end);
        }
        return null;
    }

    /** Waits until the filters have let the call through; null: they have ended. */
    FilteredCall opening() {
        return waitFor(letThrough);
    }

    void begun(Begun stream) {
        begun.complete(stream);
    }

    void refused(RuntimeException why) {
        begun.completeExceptionally(why);
    }

    /** Its user takes no more. */
    void leave() {
        taken.complete(null);
    }

    /** Lets the filters end, and throws what they do. */
    void end() {
        leave();
        waitFor(result);
    }

    private static <T> T waitFor(CompletableFuture<T> future) {
        Port.checkMayBlock();
        try {
            return future.get();
        } catch (InterruptedException now) {
            throw NebulaException.interrupted();
        } catch (ExecutionException failed) {
            throw unchecked(failed.getCause());
        }
    }

    /** What a filter has thrown, as a call of a client throws it. */
    static RuntimeException unchecked(Throwable thrown) {
        if (thrown instanceof Error error) {
            throw error;
        }
        return thrown instanceof RuntimeException mild ? mild : new CompletionException(thrown);
    }
}

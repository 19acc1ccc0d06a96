// Filter.java - functions around calls, the same for clients and servers, for one message and for streams.
package org.example.nebula;

/**
 * Gets a call and what is inside of the filter: the other filters, then the call itself.
 *
 * <pre>{@code
 * Filter logged = (call, next) -> {
 *     try {
 *         return next.run();
 *     } catch (NebulaException failure) {
 *         log.warn(call.method() + ": " + failure.code());
 *         throw failure;
 *     }
 * };
 * }</pre>
 *
 * <p>Not to run next is to answer without it; a stream of answers is empty then. What it throws is what the call fails
 * with. Filters of a server run on the handler's thread; those of a client on that of {@link Client#call}, and else on
 * one of their own, as next lasts as long as the call.
 */
@FunctionalInterface
public interface Filter {
    /** Returns the single answer, as next does; of a stream of answers it is null. */
    Object filter(FilteredCall call, Next next) throws Exception;

    /** What is inside of a filter. */
    @FunctionalInterface
    interface Next {
        /**
         * Runs it to the end of the call, and returns the single answer. Again, if the filter likes, unless there is a
         * stream: then it is an IllegalStateException.
         */
        Object run() throws Exception;
    }
}

// Reader.java - the messages that come.
package org.example.nebula;

import java.util.concurrent.Flow;

/** One thread at a time receives, or iterates. Either fails with a NebulaException when the call does. */
public interface Reader<T> extends Iterable<T> {
    /**
     * Waits for the next message; null: there are no more. (A JSON null looks the same: iterate where such may come.)
     */
    T receive();

    /**
     * The messages for one subscriber, as it asks for them, on a thread of their own. A subscription that is cancelled
     * ends the call, where that is ours to do. A JSON null is left out, for subscribers may not be given one.
     */
    default Flow.Publisher<T> publisher() {
        return new MessagePublisher<>(this);
    }
}

// Reader.java - the messages that come.
package org.example.nebula;

/** One thread at a time receives, or iterates. Either fails with a NebulaException when the call does. */
public interface Reader<T> extends Iterable<T> {
    /**
     * Waits for the next message; null: there are no more. (A JSON null looks the same: iterate where such may come.)
     */
    T receive();
}

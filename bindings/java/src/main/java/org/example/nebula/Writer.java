// Writer.java - the messages that go.
package org.example.nebula;

/** One thread at a time sends. */
public interface Writer<T> {
    /**
     * Sends a message, and waits while the peer does not read. false: the call has ended well, and nobody wants more.
     *
     * @throws NebulaException the call has failed, or the message cannot be sent
     */
    boolean send(T message);
}

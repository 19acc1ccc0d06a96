// ServerOptions.java - how a server behaves.
package org.example.nebula;

import java.time.Duration;
import java.util.concurrent.Executor;

/** Those of nebula.h; what is not set has the engine's default. */
public final class ServerOptions extends Options<ServerOptions> {
    private static final int MAX_MESSAGE = 0, MAX_STREAMS = 1, MAX_CONNECTIONS = 2, KEEPALIVE = 3;
    private static final int KEEPALIVE_TIMEOUT = 4, MIN_PING = 5, MAX_IDLE = 6, MAX_AGE = 7, MAX_AGE_GRACE = 8;
    private static final int COMPRESSION = 9, COUNT = 11;

    Executor executor;
    Duration drainTimeout = Duration.ofSeconds(10);

    public ServerOptions() {
        super(COUNT);
    }

    /** Where handlers run; else in a virtual thread each where Java has those (21), or in a thread each. */
    public ServerOptions executor(Executor handlers) {
        executor = handlers;
        return this;
    }

    /** What running calls get at the end; 10 s. */
    public ServerOptions drainTimeout(Duration time) {
        drainTimeout = time;
        return this;
    }

    /** Of tls:// addresses. */
    public ServerOptions tls(Tls files) {
        tls = files;
        return this;
    }

    /** Bytes of a request at most; 4 MiB. */
    public ServerOptions maxMessage(int bytes) {
        return set(MAX_MESSAGE, bytes);
    }

    /** Calls of one connection at a time; 1,000. */
    public ServerOptions maxStreams(int count) {
        return set(MAX_STREAMS, count);
    }

    /** Beyond, the oldest idle one is closed; by the process's limit of descriptors. */
    public ServerOptions maxConnections(int count) {
        return set(MAX_CONNECTIONS, count);
    }

    /** Pings a client that was silent for so long; 2 h. */
    public ServerOptions keepalive(Duration time) {
        return set(KEEPALIVE, time);
    }

    /** Closes if nothing comes within so long after; 20 s. */
    public ServerOptions keepaliveTimeout(Duration time) {
        return set(KEEPALIVE_TIMEOUT, time);
    }

    /** Apart clients' pings must be; 5 min, 2 h without calls. */
    public ServerOptions minPing(Duration time) {
        return set(MIN_PING, time);
    }

    /** A connection without calls for so long is drained; else never. */
    public ServerOptions maxIdle(Duration time) {
        return set(MAX_IDLE, time);
    }

    /** Any connection is drained at this age, +-10 %; else never. */
    public ServerOptions maxAge(Duration time) {
        return set(MAX_AGE, time);
    }

    /** And cut off so long after; else never. */
    public ServerOptions maxAgeGrace(Duration time) {
        return set(MAX_AGE_GRACE, time);
    }

    /** Of answers to callers that accept it; none. */
    public ServerOptions compression(Compression compression) {
        return set(COMPRESSION, compression.flag);
    }
}

// ChannelOptions.java - how a channel behaves.
package org.example.nebula;

import java.time.Duration;

/** Those of nebula.h; what is not set has the engine's default. */
public final class ChannelOptions extends Options<ChannelOptions> {
    private static final int MAX_MESSAGE = 0, KEEPALIVE = 1, KEEPALIVE_TIMEOUT = 2, ALWAYS = 3;
    private static final int MAX_IDLE = 4, COMPRESSION = 5, COUNT = 6;

    String policy;

    public ChannelOptions() {
        super(COUNT);
    }

    /** Bytes of an answer at most; 4 MiB. */
    public ChannelOptions maxMessage(int bytes) {
        return set(MAX_MESSAGE, bytes);
    }

    /** Pings a server that was silent for so long, at least 10 s; else never. */
    public ChannelOptions keepalive(Duration time) {
        return set(KEEPALIVE, time);
    }

    /** The connection is lost if nothing comes within so long after; 20 s. */
    public ChannelOptions keepaliveTimeout(Duration time) {
        return set(KEEPALIVE_TIMEOUT, time);
    }

    /** Pings without calls, too. */
    public ChannelOptions keepaliveAlways() {
        return set(ALWAYS, 1);
    }

    /** Without calls for so long, connections are closed until the next one; 30 min. */
    public ChannelOptions maxIdle(Duration time) {
        return set(MAX_IDLE, time);
    }

    /** Of requests; none. */
    public ChannelOptions compression(Compression compression) {
        return set(COMPRESSION, compression.flag);
    }

    /**
     * What is done between a name and its instances: "balancer=round_robin: retry:?tries=5", or gRPC's service config, or
     * "file:/path" of one. What it does not say is as NEBULA_POLICY says.
     */
    public ChannelOptions policy(String text) {
        policy = text;
        return this;
    }

    /** Of a tls:// address. */
    public ChannelOptions tls(Tls files) {
        tls = files;
        return this;
    }
}

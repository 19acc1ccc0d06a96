// Nebula.java - where one begins: calls by name.
package org.example.nebula;

import java.util.concurrent.CompletableFuture;

/**
 * Services that call each other by name, with nothing configured.
 *
 * <pre>{@code String greeting = Nebula.call("hello.greet", Map.of("name", "Ada"), String.class);}</pre>
 */
public final class Nebula {
    private Nebula() {}

    /** Calls that find services by their names. */
    public static Client client() {
        return Channel.common().client();
    }

    /** Puts filters around the calls of each {@link #client} from here on, inside of those that there are. */
    public static void use(Filter... filters) {
        Channel.common().use(filters);
    }

    /** What this process has counted since its first call, on all of its threads. */
    public static CompletableFuture<Metrics> metrics() {
        return Metrics.ask();
    }

    /** {@link Client#call} of {@link #client}. */
    public static <Out> Out call(String method, Object request, Class<Out> answer) {
        return client().call(method, request, answer);
    }

    /** {@link Client#callAsync} of {@link #client}. */
    public static <Out> CompletableFuture<Out> callAsync(String method, Object request, Class<Out> answer) {
        return client().callAsync(method, request, answer);
    }

    /**
     * A channel to nebula://name (one service), to nebula: (each call names its service, as {@link #client}'s do), or
     * to an address: tcp://host:port, tls://host:port, unix:/path, mem:name. It connects when a call needs it.
     *
     * @throws EngineException a target that is none, files that cannot be read
     */
    public static Channel connect(String target) {
        return connect(target, new ChannelOptions());
    }

    public static Channel connect(String target, ChannelOptions options) {
        return new Channel(target, options);
    }
}

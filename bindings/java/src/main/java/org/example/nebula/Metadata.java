// Metadata.java - the ordered names and values that travel beside a message.
package org.example.nebula;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Names and values, in order; a name may come more than once. A name is of [0-9a-z_.-]. A value is printable ASCII, or
 * any bytes where the name ends in "-bin". Never changes: {@code with} gives another one.
 */
public final class Metadata {
    public static final Metadata EMPTY = new Metadata(List.of());

    private record Pair(String name, byte[] value) {
        boolean isText() {
            return !name.endsWith("-bin");
        }

        private static boolean isOfName(int letter) {
            return letter >= 'a' && letter <= 'z' || letter >= '0' && letter <= '9' || "_.-".indexOf(letter) >= 0;
        }

        /** All that begins with grpc- is gRPC's own, but for what a handler says of another try (gRFC A6). */
        private boolean isReserved() {
            return name.startsWith("grpc-") && !name.equals("grpc-retry-pushback-ms") || name.equals("nebula-retries-left");
        }

        /** What is wrong with it; null: nothing. */
        String fault() {
            if (name.isEmpty() || !name.chars().allMatch(Pair::isOfName) || isReserved()) {
                return "metadata name \"" + name + "\": only [0-9a-z_.-], and none of gRPC's or the engine's own";
            }
            for (byte each : value) {
                if (isText() && (each < ' ' || each > '~')) {
                    return "metadata \"" + name + "\": only printable ASCII, unless the name ends in -bin";
                }
            }
            return null;
        }
    }

    private final List<Pair> pairs;

    private Metadata(List<Pair> pairs) {
        this.pairs = pairs;
    }

    /**
     * {@code Metadata.of("tenant", "a", "shop", "b")}
     *
     * @throws IllegalArgumentException a pair that cannot be sent, or a name without a value
     */
    public static Metadata of(String... namesAndValues) {
        if (namesAndValues.length % 2 != 0) {
            throw new IllegalArgumentException("metadata: a name without a value");
        }
        Metadata metadata = EMPTY;
        for (int i = 0; i < namesAndValues.length; i += 2) {
            metadata = metadata.with(namesAndValues[i], namesAndValues[i + 1]);
        }
        return metadata;
    }

    /** These, and one more at the end. */
    public Metadata with(String name, String value) {
        return with(name, value.getBytes(StandardCharsets.UTF_8));
    }

    /** The same with any bytes, for names that end in "-bin". */
    public Metadata with(String name, byte[] value) {
        Pair pair = new Pair(name, value.clone());
        if (pair.fault() != null) {
            throw new IllegalArgumentException(pair.fault());
        }
        return with(List.of(pair));
    }

    Metadata with(Metadata more) {
        return with(more.pairs);
    }

    private Metadata with(List<Pair> more) {
        List<Pair> all = new ArrayList<>(pairs);
        all.addAll(more);
        return new Metadata(all);
    }

    public boolean isEmpty() {
        return pairs.isEmpty();
    }

    /** The names, each as often as it comes. */
    public List<String> names() {
        return pairs.stream().map(Pair::name).toList();
    }

    /** The first value of that name, null if there is none. */
    public String get(String name) {
        byte[] value = getBytes(name);
        return value == null ? null : new String(value, StandardCharsets.UTF_8);
    }

    /** The first value of that name as bytes, null if there is none. */
    public byte[] getBytes(String name) {
        for (Pair pair : pairs) {
            if (pair.name.equals(name)) {
                return pair.value.clone();
            }
        }
        return null;
    }

    /** Every value of that name. */
    public List<String> all(String name) {
        return pairs.stream().filter(pair -> pair.name.equals(name))
                .map(pair -> new String(pair.value, StandardCharsets.UTF_8)).toList();
    }

    /** Every value of that name as bytes. */
    public List<byte[]> allBytes(String name) {
        return pairs.stream().filter(pair -> pair.name.equals(name)).map(pair -> pair.value.clone()).toList();
    }

    /**
     * The engine's block of { u32 name size, u32 value size, name, value }, of what may be sent; null if that is
     * nothing.
     */
    byte[] pack() {
        // Metadata of a peer, handed on, may have names that are not ours to send.
        List<Pair> sendable = pairs.stream().filter(pair -> pair.fault() == null).toList();
        int size = sendable.stream().mapToInt(pair -> 8 + pair.name.length() + pair.value.length).sum();
        ByteBuffer block = ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
        for (Pair pair : sendable) {
            block.putInt(pair.name.length()).putInt(pair.value.length);
            block.put(pair.name.getBytes(StandardCharsets.US_ASCII)).put(pair.value);
        }
        return size == 0 ? null : block.array();
    }

    static Metadata unpack(byte[] packed) {
        if (packed == null || packed.length == 0) {
            return EMPTY;
        }
        List<Pair> pairs = new ArrayList<>();
        ByteBuffer block = ByteBuffer.wrap(packed).order(ByteOrder.nativeOrder());
        while (block.hasRemaining()) {
            byte[] name = new byte[block.getInt()];
            byte[] value = new byte[block.getInt()];
            block.get(name).get(value);
            pairs.add(new Pair(new String(name, StandardCharsets.US_ASCII), value));
        }
        return new Metadata(pairs);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Metadata && toString().equals(other.toString());
    }

    @Override
    public int hashCode() {
        return toString().hashCode();
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("{");
        for (Pair pair : pairs) {
            text.append(text.length() > 1 ? ", " : "").append(pair.name).append('=').append(
                    pair.isText() ? new String(pair.value, StandardCharsets.UTF_8) : Arrays.toString(pair.value));
        }
        return text.append('}').toString();
    }
}

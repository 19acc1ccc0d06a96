// Codec.java - messages as bytes: protobuf for its own messages, byte[] as it is, JSON for every other type.
package org.example.nebula;

import com.google.protobuf.Message;

/** How the messages of a Java type travel. For any number of threads. */
abstract class Codec<T> {
    /** A message that cannot be written or read. The text is for people: it names the field at fault. */
    static final class Malformed extends Exception {
        private static final long serialVersionUID = 1;

        Malformed(String why) {
            super(why, null, false, false); // where it is thrown is of no interest
        }
    }

    /** What a call says of it: Abi.JSON, Abi.PROTO, or 0: bytes may be anything. */
    final int flag;

    Codec(int flag) {
        this.flag = flag;
    }

    private static final ClassValue<Codec<?>> BY_TYPE = new ClassValue<>() {
        @Override
        protected Codec<?> computeValue(Class<?> type) {
            if (type == byte[].class) {
                return new Bytes();
            }
            return Message.class.isAssignableFrom(type)
                    ? new ProtobufCodec<>(type.asSubclass(Message.class)) : new JsonCodec<>(type);
        }
    };

    @SuppressWarnings("unchecked") // computeValue makes one for that type
    static <T> Codec<T> of(Class<T> type) {
        return (Codec<T>) BY_TYPE.get(type);
    }

    /** The one of a message; of null, that of JSON. */
    @SuppressWarnings("unchecked") // as above
    static Codec<Object> ofValue(Object message) {
        return (Codec<Object>) BY_TYPE.get(message == null ? Object.class : message.getClass());
    }

    /** asJson: a protobuf message is to travel by proto3's JSON mapping. */
    abstract byte[] encode(T message, boolean asJson) throws Malformed;

    abstract T decode(byte[] data, boolean asJson) throws Malformed;

    private static final class Bytes extends Codec<byte[]> {
        Bytes() {
            super(0);
        }

        @Override
        byte[] encode(byte[] message, boolean asJson) throws Malformed {
            if (message == null) {
                throw new Malformed("null is no bytes");
            }
            return message;
        }

        @Override
        byte[] decode(byte[] data, boolean asJson) {
            return data;
        }
    }
}

// ProtobufCodec.java - protobuf messages, which may also travel as JSON by proto3's mapping.
package org.example.nebula;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.nio.charset.StandardCharsets;

final class ProtobufCodec<T extends Message> extends Codec<T> {
    final Message prototype;

    ProtobufCodec(Class<T> type) {
        super(Abi.PROTO);
        try {
            prototype = (Message) type.getMethod("getDefaultInstance").invoke(null);
        } catch (ReflectiveOperationException none) {
            throw new IllegalArgumentException(type.getName() + " is not a class that protoc has made", none);
        }
    }

    @Override
    byte[] encode(T message, boolean asJson) throws Malformed {
        if (message == null) {
            throw new Malformed("null is no message");
        }
        try {
            return asJson ? JsonFormat.printer().omittingInsignificantWhitespace().print(message)
                    .getBytes(StandardCharsets.UTF_8) : message.toByteArray();
        } catch (InvalidProtocolBufferException why) { // an Any of a type that is not known
            throw new Malformed(why.getMessage());
        }
    }

    @Override
    @SuppressWarnings("unchecked") // the prototype is a T
    T decode(byte[] data, boolean asJson) throws Malformed {
        try {
            if (!asJson) {
                return (T) prototype.getParserForType().parseFrom(data);
            }
            Message.Builder builder = prototype.newBuilderForType();
            JsonFormat.parser().merge(new String(data, StandardCharsets.UTF_8), builder);
            return (T) builder.build();
        } catch (InvalidProtocolBufferException why) {
            throw new Malformed(why.getMessage());
        }
    }
}

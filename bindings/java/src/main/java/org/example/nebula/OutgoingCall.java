// OutgoingCall.java - what the arguments of a call come to.
package org.example.nebula;

import java.util.function.Consumer;

/** timeoutUs 0: no deadline. headers, trailers: who wants them; null: nobody. */
record OutgoingCall<Out>(
        Channel channel, Method method, long number, long timeoutUs, byte[] metadata, int flags,
        Codec<?> in, Codec<Out> out, Consumer<Metadata> headers, Consumer<Metadata> trailers) {

    byte[] encode(Object request) {
        try {
            return Codec.ofValue(request).encode(request, false);
        } catch (Codec.Malformed why) {
            throw NebulaException.unsent(
                    Code.INVALID_ARGUMENT, method.label() + ": the request cannot be encoded: " + why.getMessage());
        }
    }

    /** An answer travels as its request does, where the type leaves a choice. */
    Out decode(byte[] data) throws Codec.Malformed {
        return out.decode(data, in.flag == Abi.JSON);
    }

    /** Begins the call: its events go to receiver, from the very first on. Returns its number. */
    long start(Port port, Port.Receiver receiver, byte[] data, int moreFlags) {
        long tag = Port.newTag();
        port.know(tag, receiver);
        long call = Abi.callStart(
                port.queue, number, tag, timeoutUs, metadata, data, flags | moreFlags, Context.parent());
        if (call == 0) {
            port.forget(tag);
            throw NebulaException.unsent(Code.INVALID_ARGUMENT,
                    method.label() + ": the engine did not take the call: is its channel closed?");
        }
        return call;
    }
}

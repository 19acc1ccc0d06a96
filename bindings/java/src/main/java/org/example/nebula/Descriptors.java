// Descriptors.java - what a server's protobuf services look like, for grpc.reflection.
package org.example.nebula;

import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.FileDescriptor;
import java.util.HashSet;
import java.util.Set;

/** The files that define its messages, with all that they import. */
final class Descriptors {
    private final FileDescriptorSet.Builder set = FileDescriptorSet.newBuilder();
    private final Set<String> known = new HashSet<>();

    void add(Codec<?> codec) {
        if (codec instanceof ProtobufCodec) {
            add(((ProtobufCodec<?>) codec).prototype.getDescriptorForType().getFile());
        }
    }

    void add(FileDescriptor file) {
        if (known.add(file.getName())) {
            file.getDependencies().forEach(this::add); // before what needs them
            set.addFile(file.toProto());
        }
    }

    boolean isEmpty() {
        return known.isEmpty();
    }

    /** A serialized google.protobuf.FileDescriptorSet. */
    byte[] set() {
        return set.build().toByteArray();
    }
}

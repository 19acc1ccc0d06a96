// describe.go - what a server's protobuf services look like, for grpc.reflection.
package nebula

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

// descriptorSet is a serialized google.protobuf.FileDescriptorSet of the files that define these methods' services and
// messages, with all that they import; nil if none of the methods is of protobuf.
func descriptorSet(methods []*handler) []byte {
	set, known := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(file protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if known[file.Path()] {
			return
		}
		known[file.Path()] = true
		for i := 0; i < file.Imports().Len(); i++ {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	for _, h := range methods {
		if h.codec != codecProto {
			continue
		}
		for _, each := range h.types {
			if message, is := each.(proto.Message); is {
				add(message.ProtoReflect().Descriptor().ParentFile())
			}
		}
		service, _, _ := strings.Cut(h.path[1:], "/")
		if found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service)); err == nil {
			add(found.ParentFile())
		}
	}
	if len(set.File) == 0 {
		return nil
	}
	data, err := proto.Marshal(set)
	if err != nil {
		return nil // a descriptor that was loaded can be written
	}
	return data
}

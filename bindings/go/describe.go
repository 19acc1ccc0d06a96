// describe.go - what a server's services look like: descriptors of protobuf for grpc.reflection, documents for callers.
package nebula

import (
	"encoding/json"
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
			if message, is := messageOf(each); is {
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

// documents are the descriptions of the methods' services, by their names.
func documents(methods []*handler) map[string][]byte {
	type description struct {
		Service string           `json:"service"`
		Methods []map[string]any `json:"methods"`
		Defs    map[string]any   `json:"$defs"`
	}
	all, makers := map[string]*description{}, map[string]*schemas{}
	for _, h := range methods {
		service, name, _ := strings.Cut(h.path[1:], "/")
		if all[service] == nil {
			makers[service] = newSchemas()
			all[service] = &description{service, nil, makers[service].definitions}
		}
		shape := []string{"unary", "client_stream", "server_stream", "bidi"}[h.shape&^shapeReading]
		all[service].Methods = append(all[service].Methods, map[string]any{
			"name": name, "shape": shape,
			"request": makers[service].message(h.types[0]), "response": makers[service].message(h.types[1]),
		})
	}
	texts := map[string][]byte{}
	for service, d := range all {
		if text, err := json.Marshal(d); err == nil { // it is made of maps and texts
			texts[service] = text
		}
	}
	return texts
}

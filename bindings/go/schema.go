// schema.go - Go types as JSON Schema: what encoding/json takes for them.
package nebula

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	"google.golang.org/protobuf/proto"
)

// schemas makes the schemas of one service. Structs with a name go to definitions, for they may contain themselves.
type schemas struct {
	definitions map[string]any
	names       map[reflect.Type]string
}

// properties are the fields of an object, in their order, in which errors name them.
type properties []property

type property struct {
	name   string
	schema any
}

func (all *properties) has(name string) bool {
	for _, each := range *all {
		if each.name == name {
			return true
		}
	}
	return false
}

func (all *properties) MarshalJSON() ([]byte, error) {
	text := []byte{'{'}
	for i, each := range *all {
		if i > 0 {
			text = append(text, ',')
		}
		name, err := json.Marshal(each.name)
		if err != nil {
			return nil, err
		}
		schema, err := json.Marshal(each.schema)
		if err != nil {
			return nil, err
		}
		text = append(append(append(text, name...), ':'), schema...)
	}
	return append(text, '}'), nil
}

func newSchemas() *schemas { return &schemas{map[string]any{}, map[reflect.Type]string{}} }

func typeOf[T any]() reflect.Type { return reflect.TypeOf((*T)(nil)).Elem() }

var (
	unmarshalerType     = typeOf[json.Unmarshaler]()
	textUnmarshalerType = typeOf[encoding.TextUnmarshaler]()
	numberType          = typeOf[json.Number]()
)

// messageOf gives the protobuf message of a type that is one.
func messageOf(t reflect.Type) (proto.Message, bool) {
	message, is := reflect.Zero(t).Interface().(proto.Message)
	return message, is
}

func reference(name string) any { return M{"$ref": "#/$defs/" + name} }

// kind is a schema of one kind of value. Null leaves a value as it is, whatever its type.
func kind(name string) M { return M{"type": []string{name, "null"}} }

// message is the schema of a whole message, which as []byte may be anything.
func (s *schemas) message(t reflect.Type) any {
	if t == typeOf[[]byte]() {
		return M{}
	}
	return s.of(t)
}

// of gives the schema of a type; an empty one says nothing.
func (s *schemas) of(t reflect.Type) any {
	if message, is := messageOf(t); is { // what is in it the engine takes from the descriptors
		return reference(string(message.ProtoReflect().Descriptor().FullName()))
	}
	if t == numberType {
		return M{"type": []string{"number", "string", "null"}}
	}
	if reflect.PointerTo(t).Implements(unmarshalerType) {
		return M{}
	}
	if reflect.PointerTo(t).Implements(textUnmarshalerType) {
		return kind("string")
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return kind("string")
	case reflect.Bool:
		return kind("boolean")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return kind("integer")
	case reflect.Float32, reflect.Float64:
		return kind("number")
	case reflect.Slice, reflect.Array:
		return s.list(t)
	case reflect.Map:
		schema := kind("object")
		schema["additionalProperties"] = s.of(t.Elem())
		return schema
	case reflect.Struct:
		return s.object(t)
	}
	return M{}
}

func (s *schemas) list(t reflect.Type) any {
	if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
		return M{"type": []string{"string", "null"}, "contentEncoding": "base64"}
	}
	schema := kind("array")
	schema["items"] = s.of(t.Elem())
	return schema
}

func (s *schemas) object(t reflect.Type) any {
	if t.Name() == "" {
		return s.fields(t)
	}
	name, known := s.names[t]
	if !known {
		name = t.Name()
		for s.definitions[name] != nil { // another one of that name
			name += "_"
		}
		s.names[t] = name
		s.definitions[name] = M{} // taken, before what is in it may refer to it
		s.definitions[name] = s.fields(t)
	}
	return reference(name)
}

func (s *schemas) fields(t reflect.Type) M {
	properties := &properties{}
	s.add(properties, t, map[reflect.Type]bool{})
	schema := kind("object")
	schema["properties"], schema["additionalProperties"], schema["x-ignore-case"] = properties, false, true
	return schema
}

// add notes the fields of a struct, and then those of the structs that it embeds, as far as they are not hidden.
func (s *schemas) add(all *properties, t reflect.Type, inside map[reflect.Type]bool) {
	if inside[t] {
		return
	}
	inside[t] = true
	var embedded []reflect.Type
	for i := 0; i < t.NumField(); i++ {
		field := t.Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			inner := field.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				embedded = append(embedded, inner)
				continue
			}
		}
		if !field.IsExported() || field.Tag.Get("json") == "-" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		if all.has(name) {
			continue
		}
		schema := s.of(field.Type)
		if strings.Contains(","+options+",", ",string,") {
			schema = M{}
		}
		*all = append(*all, property{name, schema})
	}
	for _, inner := range embedded {
		s.add(all, inner, inside)
	}
}

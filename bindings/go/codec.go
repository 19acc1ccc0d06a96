// codec.go - messages as bytes: protobuf for its own messages, []byte as they are, JSON for every other type.
package nebula

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// M is the fields of a JSON message: nebula.M{"name": "Ada"}.
type M = map[string]any

// A codec is how messages of a Go type travel.
type codec int

const (
	codecJSON codec = iota
	codecProto
	codecBytes
)

func codecOf[T any]() codec {
	var zero T
	return codecOfValue(zero)
}

func codecOfValue(message any) codec {
	switch message.(type) {
	case proto.Message:
		return codecProto
	case []byte:
		return codecBytes
	}
	return codecJSON
}

// flag is what a call says of it. Bytes may be of any codec, so nothing is said of them.
func (c codec) flag() uint32 { return [...]uint32{flagJSON, flagProto, 0}[c] }

// encode gives bytes that are not nil. asJSON: a protobuf message is to travel by proto3's JSON mapping.
func encode(message any, asJSON bool) ([]byte, error) {
	var data []byte
	var err error
	switch m := message.(type) {
	case proto.Message:
		if asJSON {
			data, err = protojson.Marshal(m)
		} else {
			data, err = proto.Marshal(m)
		}
	case []byte:
		data = m
	default:
		data, err = json.Marshal(m)
	}
	if uint64(len(data)) > messageMax {
		err = errors.New("a message has 4 GiB at most")
	}
	if data == nil {
		data = []byte{}
	}
	return data, err
}

// decode reads one message. The error is for people: it names the field at fault.
func decode[T any](data []byte, asJSON bool) (T, error) {
	var value T
	switch m := any(value).(type) {
	case proto.Message:
		value = reflect.New(reflect.TypeOf(m).Elem()).Interface().(T) // generated types are pointers to structs
		fresh := any(value).(proto.Message)
		if asJSON {
			return value, protojson.Unmarshal(data, fresh)
		}
		return value, proto.UnmarshalOptions{Merge: true}.Unmarshal(data, fresh) // it is empty: nothing to reset
	case []byte:
		return any(data).(T), nil
	}
	return decodeJSON[T](data)
}

// decodeJSON stands apart, for what json fills is on the heap.
func decodeJSON[T any](data []byte) (T, error) {
	var value T
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		return value, jsonError[T](err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return value, errors.New("malformed JSON: there is more than one value")
	}
	return value, nil
}

func jsonError[T any](err error) error {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		if kind.Field == "" {
			return fmt.Errorf("the message must be %s, not %s", jsonName(kind.Type), givenName(kind))
		}
		return fmt.Errorf("field %q must be %s, not %s", kind.Field, jsonName(kind.Type), givenName(kind))
	}
	if rest := strings.TrimPrefix(err.Error(), "json: unknown field "); rest != err.Error() {
		return fmt.Errorf("has no field %s (fields: %s)", rest, strings.Join(fieldsOf[T](), ", "))
	}
	return fmt.Errorf("malformed JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "an integer"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "an object"
}

// givenName says what was given, in the words of the engine's own check.
func givenName(kind *json.UnmarshalTypeError) string {
	switch kind.Value {
	case "string":
		return "a string"
	case "bool":
		return "a boolean"
	case "array":
		return "a list"
	case "object":
		return "an object"
	}
	if number := strings.TrimPrefix(kind.Value, "number "); number != kind.Value && jsonName(kind.Type) == "an integer" {
		return number
	}
	return "a number"
}

// fieldsOf names the fields of a struct as JSON has them.
func fieldsOf[T any]() []string {
	var names []string
	t := reflect.TypeOf((*T)(nil)).Elem()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() || field.Anonymous {
			continue
		}
		if name == "" {
			name = field.Name
		}
		names = append(names, name)
	}
	return names
}

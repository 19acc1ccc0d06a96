// Schemas.java - Java types as JSON Schema: what Jackson takes for them.
package org.example.nebula;

import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.introspect.BeanPropertyDefinition;
import java.lang.annotation.Annotation;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Those of one service. Records go to its definitions, for they may contain themselves. What has ways of its own to be
 * read (a class that is no record, annotations of Jackson) is any value: the server is the judge of it.
 */
final class Schemas {
    private static final Map<String, Object> ANY = Map.of();
    private static final Map<Class<?>, String> SCALARS = Map.ofEntries(
            Map.entry(String.class, "string"), Map.entry(boolean.class, "boolean"), Map.entry(Boolean.class, "boolean"),
            Map.entry(byte.class, "integer"), Map.entry(Byte.class, "integer"), Map.entry(short.class, "integer"),
            Map.entry(Short.class, "integer"), Map.entry(int.class, "integer"), Map.entry(Integer.class, "integer"),
            Map.entry(long.class, "integer"), Map.entry(Long.class, "integer"), Map.entry(float.class, "number"),
            Map.entry(Float.class, "number"), Map.entry(double.class, "number"), Map.entry(Double.class, "number"));

    final Map<String, Object> definitions = new LinkedHashMap<>();
    private final Map<JavaType, String> names = new LinkedHashMap<>();

    /** Of a whole message. */
    Object of(Codec<?> codec) {
        if (codec instanceof ProtobufCodec<?> messages) { // what is in it the engine takes from the descriptors
            return reference(messages.prototype.getDescriptorForType().getFullName());
        }
        return codec instanceof JsonCodec<?> json ? of(json.type()) : ANY;
    }

    private static Map<String, Object> reference(String name) {
        return Map.of("$ref", "#/$defs/" + name);
    }

    /** Null is taken for any type. */
    private static Map<String, Object> kind(String name) {
        Map<String, Object> schema = new LinkedHashMap<>();
        schema.put("type", List.of(name, "null"));
        return schema;
    }

    private Map<String, Object> of(JavaType type) {
        String scalar = SCALARS.get(type.getRawClass());
        if (scalar != null) {
            return kind(scalar);
        } else if (type.getRawClass() == byte[].class) {
            Map<String, Object> schema = kind("string");
            schema.put("contentEncoding", "base64");
            return schema;
        } else if (type.isArrayType() || type.isCollectionLikeType()) {
            Map<String, Object> schema = kind("array");
            schema.put("items", of(type.getContentType()));
            return schema;
        } else if (type.isMapLikeType()) {
            Map<String, Object> schema = kind("object");
            schema.put("additionalProperties", of(type.getContentType()));
            return schema;
        }
        return type.getRawClass().isRecord() && isPlain(type.getRawClass().getAnnotations()) ? record(type) : ANY;
    }

    private Map<String, Object> record(JavaType type) {
        String name = names.get(type);
        if (name == null) {
            name = type.getRawClass().getSimpleName();
            while (definitions.containsKey(name)) { // another one of that name
                name += "_";
            }
            names.put(type, name);
            definitions.put(name, ANY); // taken, before what is in it may refer to it
            definitions.put(name, fields(type));
        }
        return reference(name);
    }

    private Map<String, Object> fields(JavaType type) {
        Map<String, Object> properties = new LinkedHashMap<>();
        for (BeanPropertyDefinition field : JsonCodec.fieldsOf(type)) {
            boolean isPlain = field.getPrimaryMember() != null
                    && isPlain(field.getPrimaryMember().getAllAnnotations().annotations());
            properties.put(field.getName(), isPlain ? of(field.getPrimaryType()) : ANY);
            field.findAliases().forEach(alias -> properties.put(alias.getSimpleName(), ANY));
        }
        Map<String, Object> schema = kind("object");
        schema.put("properties", properties);
        schema.put("additionalProperties", false);
        return schema;
    }

    private static boolean isPlain(Annotation... annotations) {
        return isPlain(List.of(annotations));
    }

    private static boolean isPlain(Iterable<Annotation> annotations) {
        for (Annotation each : annotations) {
            if (each.annotationType().getName().startsWith("com.fasterxml.")) {
                return false;
            }
        }
        return true;
    }
}

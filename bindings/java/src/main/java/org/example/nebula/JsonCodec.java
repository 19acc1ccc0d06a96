// JsonCodec.java - records, maps, lists, texts and numbers as JSON, checked strictly.
package org.example.nebula;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JavaType;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.introspect.BeanPropertyDefinition;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.type.LogicalType;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** By Jackson, with the modules that it finds on the class path. An unknown field or one of another type is refused. */
final class JsonCodec<T> extends Codec<T> {
    private static final JsonMapper MAPPER = mapper();

    private final ObjectReader reader;
    private final ObjectWriter writer = MAPPER.writer();
    private final JavaType type;

    JsonCodec(Class<T> type) {
        super(Abi.JSON);
        this.type = MAPPER.constructType(type);
        reader = MAPPER.readerFor(this.type);
    }

    JavaType type() {
        return type;
    }

    /** The fields that a class is read from, in their order. */
    static List<BeanPropertyDefinition> fieldsOf(JavaType type) {
        return MAPPER.getDeserializationConfig().introspect(type).findProperties();
    }

    /** A value of maps, lists and texts. */
    static byte[] write(Object value) {
        try {
            return MAPPER.writeValueAsBytes(value);
        } catch (JsonProcessingException cannotBe) {
            throw new AssertionError(cannotBe);
        }
    }

    private static JsonMapper mapper() {
        JsonMapper mapper = JsonMapper.builder().findAndAddModules()
                .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS) // "7" is no number
                .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT).build();
        for (CoercionInputShape shape : new CoercionInputShape[] {
            CoercionInputShape.Integer, CoercionInputShape.Float, CoercionInputShape.Boolean}) {
            mapper.coercionConfigFor(LogicalType.Textual).setCoercion(shape, CoercionAction.Fail); // and 7 no text
        }
        return mapper;
    }

    @Override
    byte[] encode(T message, boolean asJson) throws Malformed {
        try {
            return writer.writeValueAsBytes(message);
        } catch (JsonProcessingException why) {
            throw new Malformed(why.getOriginalMessage());
        }
    }

    @Override
    T decode(byte[] data, boolean asJson) throws Malformed {
        try (JsonParser parser = reader.createParser(data)) {
            return decode(parser);
        } catch (JsonProcessingException why) {
            throw new Malformed("malformed JSON: " + why.getOriginalMessage());
        } catch (IOException cannotBe) { // the parser reads from an array
            throw new Malformed("malformed JSON: " + cannotBe.getMessage());
        }
    }

    private T decode(JsonParser parser) throws IOException, Malformed {
        try {
            T value = reader.readValue(parser);
            if (parser.nextToken() != null) {
                throw new Malformed("malformed JSON: there is more than one value");
            }
            return value;
        } catch (UnrecognizedPropertyException unknown) {
            Collection<Object> fields = unknown.getKnownPropertyIds();
            throw new Malformed("has no field \"" + unknown.getPropertyName() + "\" (fields: "
                    + fields.stream().map(Object::toString).collect(Collectors.joining(", ")) + ")");
        } catch (MismatchedInputException mismatch) {
            throw new Malformed(describe(mismatch, parser));
        }
    }

    private static String describe(MismatchedInputException mismatch, JsonParser parser) throws IOException {
        JsonToken token = parser.currentToken();
        if (token == null || mismatch.getTargetType() == null) {
            return "malformed JSON: " + mismatch.getOriginalMessage();
        }
        String field = mismatch.getPath().stream().map(JsonCodec::step).collect(Collectors.joining());
        String what = field.isEmpty() ? "the message" : "field \"" + (field.startsWith(".") ? field.substring(1) : field) + "\"";
        String wanted = name(mismatch.getTargetType());
        boolean isNumber = token == JsonToken.VALUE_NUMBER_INT || token == JsonToken.VALUE_NUMBER_FLOAT;
        String given = isNumber && wanted.equals("an integer") ? parser.getText() : name(token);
        return what + " must be " + wanted + ", not " + given;
    }

    private static String step(JsonMappingException.Reference step) {
        return step.getFieldName() != null ? "." + step.getFieldName() : "[" + step.getIndex() + "]";
    }

    private static String name(Class<?> type) {
        if (CharSequence.class.isAssignableFrom(type)) {
            return "a string";
        } else if (type == boolean.class || type == Boolean.class) {
            return "a boolean";
        } else if (type == double.class || type == float.class || type == Double.class || type == Float.class) {
            return "a number";
        } else if (type.isPrimitive() || Number.class.isAssignableFrom(type)) {
            return "an integer";
        } else if (type.isArray() || Collection.class.isAssignableFrom(type)) {
            return "a list";
        } else if (type.isRecord() || Map.class.isAssignableFrom(type)) {
            return "an object";
        }
        return "a " + type.getSimpleName();
    }

    private static String name(JsonToken token) {
        return switch (token) {
            case VALUE_STRING -> "a string";
            case VALUE_TRUE, VALUE_FALSE -> "a boolean";
            case VALUE_NUMBER_INT, VALUE_NUMBER_FLOAT -> "a number";
            case VALUE_NULL -> "null";
            case START_ARRAY, END_ARRAY -> "a list";
            default -> "an object";
        };
    }
}

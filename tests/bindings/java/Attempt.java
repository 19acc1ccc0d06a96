// java/Attempt.java - one call of a case, with the messages of one codec.
package org.example.nebula.conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.example.nebula.CallStream;
import org.example.nebula.Channel;
import org.example.nebula.Client;
import org.example.nebula.Code;
import org.example.nebula.Compression;
import org.example.nebula.Metadata;
import org.example.nebula.NebulaException;

final class Attempt<In, Out> {
    /** A request of the JSON that the case has. */
    interface Parse<In> {
        In parse(JsonNode fields) throws Exception;
    }

    /** An answer as the result has it. */
    interface Show<Out> {
        JsonNode show(Out answer) throws Exception;
    }

    /** What is done with each request; false: no more. */
    private interface Take<In> {
        boolean take(In ask) throws Exception;
    }

    /** Answers of a result at most; of more only the first and the last. */
    private static final int SHOWN_MAX = 20;

    private final Channel channel;
    private final JsonNode given;
    private final Class<In> request;
    private final Class<Out> answer;
    private final Parse<In> parse;
    private final Show<Out> show;

    private final ArrayNode answers = Called.JSON.createArrayNode();
    private int count, sent;
    private boolean isDropped;
    private Metadata headers = Metadata.EMPTY, trailers = Metadata.EMPTY;
    private Runnable cancel;
    private String late;

    Attempt(Channel channel, JsonNode given, Class<In> request, Class<Out> answer, Parse<In> parse, Show<Out> show) {
        this.channel = channel;
        this.given = given;
        this.request = request;
        this.answer = answer;
        this.parse = parse;
        this.show = show;
    }

    /** What came of it. */
    ObjectNode run() throws Exception {
        ObjectNode result = Called.JSON.createObjectNode();
        long began = System.nanoTime();
        try {
            call(given.get("method").asText());
            result.put("code", Code.OK.ordinal());
        } catch (NebulaException failure) {
            trailers = failure.trailers();
            result.put("code", failure.code().ordinal()).put("message", failure.getMessage());
            result.put("fate", word(failure.fate())).put("fault", word(failure.fault()));
        } catch (CancellationException ours) { // how a future says it
            result.put("code", Code.CANCELLED.ordinal());
        }
        result.put("took_ms", (System.nanoTime() - began) / 1e6);
        if (isDropped) { // nobody is there to hear of it
            result.remove("code");
        }
        if (late != null) {
            result.put("late", late);
        }
        result.put("count", count).put("sent", sent).set("answers", answers);
        result.set("headers", show(headers));
        result.set("trailers", show(trailers));
        return result;
    }

    private static String word(Enum<?> one) {
        return one == null ? null : one.name().toLowerCase();
    }

    private void call(String method) throws Exception {
        String path = method.startsWith("/") ? method : "/" + Program.SERVICE + "/" + method;
        switch (method) {
            case "Collect" -> {
                try (CallStream<In, Out> stream = client().clientStream(path, request, answer)) {
                    begun(stream::close);
                    sendAll(stream);
                    readAll(stream);
                }
            }
            case "Produce" -> {
                try (CallStream<Void, Out> stream = client().serverStream(path, only(), answer)) {
                    begun(stream::close);
                    readAll(stream);
                }
            }
            case "Chat" -> {
                try (CallStream<In, Out> stream = client().bidi(path, request, answer)) {
                    begun(stream::close);
                    try {
                        sendAll(stream);
                        readAll(stream);
                    } finally {
                        sendLate(stream);
                    }
                }
            }
            default -> unary(path, client().withHeaders(all -> headers = all).withTrailers(all -> trailers = all));
        }
    }

    private Client client() {
        Client client = channel.client();
        if (given.has("timeout_ms")) {
            client = client.withTimeout(Duration.ofMillis(given.get("timeout_ms").asLong()));
        }
        if (given.path("wait_for_ready").asBoolean()) {
            client = client.waitForReady();
        }
        if (given.path("idempotent").asBoolean()) {
            client = client.idempotent();
        }
        if (given.has("compression")) {
            client = client.withCompression(Compression.valueOf(given.get("compression").asText().toUpperCase()));
        }
        Metadata metadata = Metadata.EMPTY;
        for (JsonNode pair : given.path("metadata")) {
            String name = pair.get("name").asText();
            metadata = pair.has("data") ? metadata.with(name, Base64.getDecoder().decode(pair.get("data").asText()))
                    : metadata.with(name, pair.get("text").asText());
        }
        return client.withMetadata(metadata);
    }

    /** The call is made: from here on it may be ended. */
    private void begun(Runnable end) {
        cancel = end;
        String when = given.path("cancel").asText();
        if (when.equals("start")) {
            cancel.run();
        } else if (when.startsWith("ms:")) {
            CompletableFuture.delayedExecutor(Long.parseLong(when.substring(3)), TimeUnit.MILLISECONDS).execute(cancel);
        }
    }

    private void unary(String path, Client client) throws Exception {
        if (!given.has("cancel")) {
            took(client.call(path, only(), answer));
            return;
        }
        CompletableFuture<Out> calling = client.callAsync(path, only(), answer);
        begun(() -> calling.cancel(true));
        try {
            took(calling.get());
        } catch (ExecutionException failed) {
            throw failed.getCause() instanceof NebulaException failure ? failure : failed;
        }
        calling.cancel(true); // too late for anything but "end"
    }

    // ---- requests ---------------------------------------------------------------------------------------------------

    private void each(Take<In> taker) throws Exception {
        for (JsonNode fields : given.path("asks")) {
            In ask = parse.parse(((ObjectNode) fields.deepCopy()).without("times"));
            for (int left = fields.path("times").asInt(1); left > 0; left--) {
                if (!taker.take(ask)) {
                    return;
                }
            }
        }
    }

    private In only() throws Exception {
        List<In> first = new ArrayList<>();
        each(ask -> {
            first.add(ask);
            return false;
        });
        return first.get(0);
    }

    private void sendAll(CallStream<In, Out> stream) throws Exception {
        boolean[] isOver = {false};
        try {
            each(ask -> {
                isOver[0] = !stream.send(ask);
                if (!isOver[0]) {
                    sent++;
                    isOver[0] = given.path("pingpong").asBoolean() && !read(stream);
                }
                return !isOver[0];
            });
            if (!given.path("keep_open").asBoolean() && !isOver[0]) {
                stream.end();
            }
        } catch (NebulaException failure) {
            // Reading says so, too, after the answers that came before.
        }
    }

    /** One more message than there is anybody for. */
    private void sendLate(CallStream<In, Out> stream) throws Exception {
        if (given.path("send_after_end").asBoolean()) {
            try {
                late = stream.send(only()) ? "ignored" : "error";
            } catch (NebulaException | IllegalStateException refused) {
                late = "error";
            }
        }
    }

    // ---- answers ----------------------------------------------------------------------------------------------------

    private void readAll(CallStream<?, Out> stream) throws Exception {
        try {
            while (!isDropped && read(stream)) {
                continue;
            }
        } finally {
            if (!isDropped) {
                headers = headersOf(stream);
                trailers = stream.trailers();
            }
        }
        if (given.path("cancel").asText().equals("end")) {
            cancel.run();
        }
    }

    /** Those that came, if any did before it failed. */
    private static Metadata headersOf(CallStream<?, ?> stream) {
        try {
            return stream.headers();
        } catch (NebulaException none) {
            return Metadata.EMPTY;
        }
    }

    /** Takes one answer. false: there are no more. */
    private boolean read(CallStream<?, Out> stream) throws Exception {
        Out next = stream.receive();
        if (next != null) {
            took(next);
        }
        if (isDropped) {
            stream.close();
        }
        return next != null && !isDropped;
    }

    /** Keeps an answer, and does what is to be done then. */
    private void took(Out one) throws Exception {
        count++;
        if (count > SHOWN_MAX) {
            JsonNode first = answers.get(0);
            answers.removeAll().add(first);
        }
        answers.add(show.show(one));
        if (given.path("read").asInt() == count) {
            Thread.sleep(given.get("pause_ms").asLong());
        }
        if (given.path("cancel").asText().equals("answers:" + count)) {
            cancel.run();
        }
        isDropped = given.path("drop").asText().equals("answers:" + count);
    }

    /** Those that are ours, in the order of their names, and of the values of each. */
    private static ArrayNode show(Metadata metadata) {
        ArrayNode pairs = Called.JSON.createArrayNode();
        for (String name : metadata.names().stream().distinct().filter(each -> each.startsWith("x-")).toList()) {
            if (name.endsWith("-bin")) {
                metadata.allBytes(name).forEach(value -> pairs.addObject().put("name", name)
                        .put("data", Base64.getEncoder().encodeToString(value)));
            } else {
                metadata.all(name).forEach(value -> pairs.addObject().put("name", name).put("text", value));
            }
        }
        return pairs;
    }
}

// java/Called.java - cases as they come, and results as they go.
package org.example.nebula.conformance;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.example.nebula.Channel;
import org.example.nebula.Nebula;

final class Called {
    static final ObjectMapper JSON = new ObjectMapper();

    /** How long a call may run on before it is asked for no more, and how often it is. */
    private static final Duration RECALL_MAX = Duration.ofSeconds(5), RECALL_PAUSE = Duration.ofMillis(5);

    private final Channel channel;
    private final JsonNode given;

    private Called(Channel channel, JsonNode given) {
        this.channel = channel;
        this.given = given;
    }

    static void call(String target) throws Exception {
        BufferedReader cases = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Channel channel = Nebula.connect(target)) {
            for (String line; (line = cases.readLine()) != null; ) {
                System.out.println(JSON.writeValueAsString(new Called(channel, JSON.readTree(line)).result()));
            }
        }
    }

    private ObjectNode result() {
        String name = given.get("name").asText();
        try {
            ObjectNode result = given.has("times") ? many() : once();
            if (given.has("recall")) {
                result.set("record", recall());
            }
            return result.put("name", name);
        } catch (Exception broken) { // the next case goes on
            return JSON.createObjectNode().put("name", name).put("broken", String.valueOf(broken));
        }
    }

    private ObjectNode once() throws Exception {
        Attempt<?, ?> attempt = given.path("codec").asText().equals("json")
                ? new Attempt<>(channel, given, Object.class, Object.class, Called::mapOf, JSON::valueToTree)
                : new Attempt<>(channel, given, Ask.class, Answer.class, Called::askOf, Called::show);
        return attempt.run();
    }

    /** Runs the case as often as it says, and counts the codes. */
    private ObjectNode many() throws Exception {
        Map<String, Integer> codes = new TreeMap<>();
        AtomicInteger left = new AtomicInteger(given.get("times").asInt());
        int atOnce = given.path("at_once").asInt(1);
        ExecutorService threads = Executors.newFixedThreadPool(atOnce);
        try {
            List<Future<?>> done = new ArrayList<>();
            for (int i = 0; i < atOnce; i++) {
                done.add(threads.submit(() -> {
                    while (left.getAndDecrement() > 0) {
                        String code = once().get("code").asText();
                        synchronized (codes) {
                            codes.merge(code, 1, Integer::sum);
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> one : done) {
                one.get();
            }
        } finally {
            threads.shutdown();
        }
        return JSON.createObjectNode().set("codes", JSON.valueToTree(codes));
    }

    /** What has become of a call, as soon as that is known. */
    private JsonNode recall() throws Exception {
        long end = System.nanoTime() + RECALL_MAX.toNanos();
        Key key = Key.newBuilder().setKey(given.get("recall").asText()).build();
        for (;;) {
            Record record = channel.client().withTimeout(RECALL_MAX).call(Program.SERVICE + ".Recall", key, Record.class);
            if (!record.getState().equals("running") || System.nanoTime() > end) {
                return show(record);
            }
            Thread.sleep(RECALL_PAUSE.toMillis());
        }
    }

    private static Ask askOf(JsonNode fields) throws InvalidProtocolBufferException {
        Ask.Builder ask = Ask.newBuilder();
        JsonFormat.parser().merge(fields.toString(), ask);
        return ask.build();
    }

    private static Object mapOf(JsonNode fields) {
        return JSON.convertValue(fields, Map.class);
    }

    /** In proto3's JSON. */
    private static JsonNode show(Message message) throws Exception {
        return JSON.readTree(JsonFormat.printer().print(message));
    }
}

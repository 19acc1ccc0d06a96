// java/Deed.java - one call as it is handled: what its first request asks for, step by step.
package org.example.nebula.conformance;

import com.google.protobuf.ByteString;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.example.nebula.Client;
import org.example.nebula.Code;
import org.example.nebula.Context;
import org.example.nebula.Metadata;
import org.example.nebula.NebulaException;
import org.example.nebula.Writer;

final class Deed implements AutoCloseable {
    private final Served served;
    private final Ask first; // says what is to be done
    private final Context context;
    private final Record.Builder record;
    private long bytes; // of the payloads that came
    private Answer relayed;

    Deed(Served served, Ask first, Context context) {
        this.served = served;
        this.first = first;
        this.context = context;
        record = served.remember(first.getKey());
    }

    /** Sends what goes before the answers. */
    void begin() {
        if (first.getTrailersCount() > 0) {
            context.setTrailers(metadataOf(first.getTrailersList()));
        }
        if (first.getHeadersCount() > 0) {
            context.sendHeaders(metadataOf(first.getHeadersList()));
        }
    }

    void take(Ask ask) {
        bytes += ask.getPayload().size();
        served.note(() -> record.setReceived(record.getReceived() + 1));
    }

    /** The single answer. */
    Answer answer() throws Exception {
        Answer answer = next(first);
        failIfAsked();
        served.note(() -> record.setSent(1));
        return answer;
    }

    /** Sends one of many. */
    void send(Ask ask, Writer<Answer> answers) throws Exception {
        answers.send(next(ask));
        served.note(() -> record.setSent(record.getSent() + 1));
    }

    void failIfAsked() {
        if (first.getThrow()) {
            throw new IllegalStateException(first.getMessage());
        }
        if (first.getStatus() != 0) {
            throw new NebulaException(Code.values()[first.getStatus()], first.getMessage());
        }
    }

    /** Notes how the handler has ended. */
    @Override
    public void close() {
        served.note(() -> record.setState(context.isCancelled() ? "cancelled" : "finished"));
    }

    /** Waits, relays, and makes the answer to one request. */
    private Answer next(Ask ask) throws Exception {
        await();
        relay();
        Answer.Builder answer = Answer.newBuilder().setPayload(ask.getPayload()).setText(ask.getText())
                .setNumber(ask.getNumber()).setReceived(record.getReceived()).setReceivedBytes(bytes)
                .setIndex(record.getSent()).setLeftMs(context.timeLeft().map(Duration::toMillis).orElse(-1L));
        if (first.getAnswerSize() > 0) {
            answer.setPayload(ByteString.copyFrom(new byte[first.getAnswerSize()]));
        }
        if (relayed != null) {
            answer.setRelayed(relayed);
        }
        Metadata metadata = context.metadata();
        metadata.names().stream().distinct().filter(name -> name.startsWith("x-")).forEach(name -> {
            for (byte[] value : metadata.allBytes(name)) {
                answer.addMetadata(pairOf(name, ByteString.copyFrom(value)));
            }
        });
        return answer.build();
    }

    private void await() throws InterruptedException {
        if (first.getDelayMs() > 0) {
            CountDownLatch gone = new CountDownLatch(1);
            context.onCancel(gone::countDown);
            if (gone.await(first.getDelayMs(), TimeUnit.MILLISECONDS)) {
                throw new NebulaException(Code.CANCELLED, "the caller has gone");
            }
        }
    }

    /** Calls this server once, whatever the number of answers. */
    private void relay() throws Exception {
        if (!first.hasRelay() || relayed != null) {
            return;
        }
        Client client = served.self().client();
        if (first.getRelayTimeoutMs() > 0) {
            client = client.withTimeout(Duration.ofMillis(first.getRelayTimeoutMs()));
        }
        Client calling = client;
        relayed = first.getDetached() ? Context.detached(() -> relay(calling)) : relay(calling);
    }

    private Answer relay(Client client) {
        return client.call(Program.SERVICE + ".Unary", first.getRelay(), Answer.class);
    }

    private static Metadata metadataOf(List<Pair> pairs) {
        Metadata metadata = Metadata.EMPTY;
        for (Pair pair : pairs) {
            metadata = pair.getName().endsWith("-bin")
                    ? metadata.with(pair.getName(), pair.getData().toByteArray())
                    : metadata.with(pair.getName(), pair.getText());
        }
        return metadata;
    }

    private static Pair pairOf(String name, ByteString value) {
        Pair.Builder pair = Pair.newBuilder().setName(name);
        return name.endsWith("-bin") ? pair.setData(value).build() : pair.setText(value.toStringUtf8()).build();
    }
}

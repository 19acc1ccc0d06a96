// java/Served.java - the service: its methods, each of which does what its first request says.
package org.example.nebula.conformance;

import java.util.HashMap;
import java.util.Map;
import org.example.nebula.Channel;
import org.example.nebula.Context;
import org.example.nebula.Nebula;
import org.example.nebula.Reader;
import org.example.nebula.Server;
import org.example.nebula.Stream;
import org.example.nebula.Writer;

final class Served {
    private final Map<String, Record.Builder> records = new HashMap<>(); // under the lock of this
    private final Server server = new Server().announce(Program.SERVICE)
            .unary(Program.SERVICE + ".Unary", Ask.class, Answer.class, this::unary)
            .clientStream(Program.SERVICE + ".Collect", Ask.class, Answer.class, this::collect)
            .serverStream(Program.SERVICE + ".Produce", Ask.class, Answer.class, this::produce)
            .bidi(Program.SERVICE + ".Chat", Ask.class, Answer.class, this::chat)
            .unary(Program.SERVICE + ".Recall", Key.class, Record.class, (key, context) -> recall(key));
    private Channel self; // made by the first relay

    void serve(String[] urls) {
        for (String url : urls) {
            server.listen(url);
        }
        System.out.println(String.join(" ", server.start().urls()));
        server.run();
    }

    private Answer unary(Ask ask, Context context) throws Exception {
        try (Deed deed = new Deed(this, ask, context)) {
            deed.begin();
            deed.take(ask);
            return deed.answer();
        }
    }

    private Answer collect(Reader<Ask> asks, Context context) throws Exception {
        Ask first = asks.receive();
        try (Deed deed = new Deed(this, first == null ? Ask.getDefaultInstance() : first, context)) {
            deed.begin();
            for (Ask ask = first; ask != null; ask = first.getEarly() ? null : asks.receive()) {
                deed.take(ask);
            }
            return deed.answer();
        }
    }

    private void produce(Ask ask, Writer<Answer> answers, Context context) throws Exception {
        try (Deed deed = new Deed(this, ask, context)) {
            deed.begin();
            deed.take(ask);
            for (int i = 0; i < ask.getAnswers(); i++) {
                deed.send(ask, answers);
            }
            deed.failIfAsked();
        }
    }

    private void chat(Stream<Ask, Answer> stream, Context context) throws Exception {
        Ask first = stream.receive();
        if (first == null) {
            return;
        }
        try (Deed deed = new Deed(this, first, context)) {
            deed.begin();
            for (Ask ask = first; ask != null; ask = first.getEarly() ? null : stream.receive()) {
                deed.take(ask);
                deed.send(ask, stream);
            }
            deed.failIfAsked();
        }
    }

    private synchronized Record recall(Key key) {
        Record.Builder record = records.get(key.getKey());
        return record == null ? Record.newBuilder().setState("unknown").build() : record.build();
    }

    /** A call that runs; one without a key is not to be found again. */
    synchronized Record.Builder remember(String key) {
        Record.Builder record = Record.newBuilder().setState("running");
        if (!key.isEmpty()) {
            records.put(key, record);
        }
        return record;
    }

    /** Notes something of a call, which others may ask for meanwhile. */
    synchronized void note(Runnable change) {
        change.run();
    }

    /** To this very server. */
    synchronized Channel self() {
        if (self == null) {
            self = Nebula.connect(server.urls().get(0));
        }
        return self;
    }
}

// 3_chain/Chain.java - a link of the chain in Java: says what reached it, after the next link has.
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.example.nebula.*;

class Chain {
    public static void main(String[] next) {
        new Server().unary("chain-java.ask", Map.class, String[].class, (none, context) -> {
            long left = context.timeLeft().get().toMillis();
            String trace = context.metadata().get("trace");
            Client client = Nebula.client().withMetadata("trace", trace);
            List<String> lines = new ArrayList<>();
            lines.add(String.format("java    %d.%03d s left  trace %s", left / 1000, left % 1000, trace));
            lines.addAll(List.of(client.call(next[0] + ".ask", Map.of(), String[].class)));
            return lines.toArray(new String[0]);
        }).run();
    }
}

// PythonPeerTest.java - services and callers in Python, found by name.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class PythonPeerTest {
    private record Start(int start) {}

    @RegisterExtension
    final Kit kit = new Kit();

    /** NEBULA_PYTHON is one that has the package, if not that of `make python`. */
    private Kit.Program python(String... words) throws Exception {
        String given = System.getenv("NEBULA_PYTHON");
        String program = given != null ? given : Path.of("../../build/venv/bin/python").toAbsolutePath().toString();
        String peer = Path.of("../../tests/bindings/python_peer.py").toAbsolutePath().toString();
        List<String> command = new ArrayList<>(List.of(program, "-u", peer));
        command.addAll(List.of(words));
        return kit.start(command.toArray(new String[0]));
    }

    @Test
    void pythonIsCalledByName() throws Exception {
        python("serve").line();
        Client client = Kit.byName();
        assertEquals("Hello Ada!", client.call("py-hello.greet", Map.of("name", "Ada"), String.class));
        NebulaException failure =
                Kit.failure(() -> client.call("py-hello.greet", Map.of("name", "nobody"), String.class));
        assertEquals(Code.NOT_FOUND, failure.code());
        assertEquals("nobody", failure.trailers().get("who"));
        failure = Kit.failure(() -> client.call("py-hello.greet", Map.of("nme", "Ada"), String.class));
        assertEquals("py-hello.greet has no field \"nme\" (fields: name); did you mean \"name\"?",
                failure.getMessage());

        List<Integer> numbers = new ArrayList<>();
        client.serverStream("py-hello.countdown", new Start(3), Integer.class).forEach(numbers::add);
        assertEquals(List.of(3, 2, 1), numbers);
        CallStream<Integer, Integer> total = client.clientStream("py-hello.total", Integer.class, Integer.class);
        numbers.forEach(total::send);
        assertEquals(6, total.finish());
        CallStream<String, String> chat = client.bidi("py-hello.chat", String.class, String.class);
        chat.send("Hello");
        assertEquals("Hello?", chat.receive());
        chat.end();
        assertNull(chat.receive());
    }

    @Test
    void pythonCallsByName() throws Exception {
        kit.ending(new Server()
                .unary("java-hello.greet", Person.class, String.class, (in, context) -> "Hello " + in.name() + "!")
                .serverStream("java-hello.countdown", Start.class, Integer.class, (in, answers, context) -> {
                    for (int number = in.start(); number > 0; number--) {
                        answers.send(number);
                    }
                })
                .clientStream("java-hello.total", Integer.class, Integer.class, (numbers, context) -> {
                    int sum = 0;
                    for (int number : numbers) {
                        sum += number;
                    }
                    return sum;
                })
                .bidi("java-hello.chat", String.class, String.class, (lines, context) -> {
                    for (String line : lines) {
                        lines.send(line + "?");
                    }
                }).start());
        Kit.Program caller = python("call", "java-hello", "name, age");
        assertEquals("all is well", caller.line());
        assertEquals(0, caller.exitCode());
    }
}

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
    private static final String HELLO = """
            import nebula
            from typing import AsyncIterator
            app = nebula.Service("py-hello")

            @app.rpc
            async def greet(name: str = "world", ctx: nebula.Context = None) -> str:
                if name == "nobody":
                    raise nebula.Error(nebula.NOT_FOUND, "nobody is not here", {"who": name})
                return f"Hello {name}!"

            @app.rpc
            async def countdown(start: int) -> AsyncIterator[int]:
                for number in range(start, 0, -1):
                    yield number

            @app.rpc
            async def total(numbers: AsyncIterator[int]) -> int:
                return sum([number async for number in numbers])

            @app.rpc
            async def chat(lines: AsyncIterator[str]) -> AsyncIterator[str]:
                async for line in lines:
                    yield line + "?"

            app.run()
            """;

    private static final String CALL = """
            import nebula
            hello = nebula.service("java-hello", timeout=100)
            assert hello.greet(name="Ada") == "Hello Ada!"
            try:
                hello.greet(nme="Ada")
                raise SystemExit("a wrong field is taken")
            except nebula.Error as error:
                assert error.code == nebula.INVALID_ARGUMENT, error
                assert error.message == 'java-hello.greet has no field "nme" (fields: name, age)', error
            assert list(hello.countdown.stream({"start": 3})) == [3, 2, 1]
            assert list(hello.chat.stream(iter(["a", "b"]))) == ["a?", "b?"]
            assert hello.total(iter([1, 2, 3])) == 6
            print("all is well")
            """;

    private record Start(int start) {}

    @RegisterExtension
    final Kit kit = new Kit();

    /** NEBULA_PYTHON is one that has the package, if not that of `make python`. */
    private Kit.Program python(String source) throws Exception {
        String given = System.getenv("NEBULA_PYTHON");
        String program = given != null ? given : Path.of("../../build/venv/bin/python").toAbsolutePath().toString();
        return kit.start(program, "-u", "-c", source);
    }

    @Test
    void pythonIsCalledByName() throws Exception {
        python(HELLO).line();
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
        Kit.Program caller = python(CALL);
        assertEquals("all is well", caller.line());
        assertEquals(0, caller.exitCode());
    }
}

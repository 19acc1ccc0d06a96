// ExamplesTest.java - examples/1_hello/java as a reader runs it.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class ExamplesTest {
    @RegisterExtension
    final Kit kit = new Kit();

    private static Path file(String name) {
        return Path.of("../../examples/1_hello/java", name).toAbsolutePath();
    }

    /** A file that java compiles and runs. */
    private Kit.Program run(String name) throws Exception {
        assertTrue(Files.readAllLines(file(name)).size() <= 25, name + " is too long");
        return kit.startJava(file(name).toString());
    }

    @Test
    void aFilterOnEachSide() throws Exception {
        Kit.Program filtered = kit.startJava(file("Filtered.java").toString());
        assertEquals("UNAUTHENTICATED who are you?", filtered.line());
        assertEquals("Hello Ada!", filtered.line());
        assertEquals(0, filtered.exitCode());
    }

    @Test
    void hello() throws Exception {
        Kit.Program hello = run("Hello.java");
        hello.line(); // it is ready
        Kit.Program call = run("Call.java");
        assertEquals("Hello Ada!", call.line());
        assertEquals("INVALID_ARGUMENT hello.greet has no field \"nme\" (fields: name); did you mean \"name\"?",
                call.line());
        assertEquals(0, call.exitCode());
        hello.signal("TERM");
        assertEquals(0, hello.exitCode());
    }
}

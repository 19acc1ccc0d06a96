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

    /** A file that java compiles and runs. */
    private Kit.Program run(String name) throws Exception {
        Path file = Path.of("../../examples/1_hello/java", name).toAbsolutePath();
        assertTrue(Files.readAllLines(file).size() <= 25, name + " is too long");
        return kit.startJava(file.toString());
    }

    @Test
    void hello() throws Exception {
        Kit.Program hello = run("Hello.java");
        hello.line(); // it is ready
        Kit.Program call = run("Call.java");
        assertEquals("Hello Ada!", call.line());
        assertEquals("INVALID_ARGUMENT hello.greet has no field \"nme\" (fields: name)", call.line());
        assertEquals(0, call.exitCode());
        hello.signal("TERM");
        assertEquals(0, hello.exitCode());
    }
}

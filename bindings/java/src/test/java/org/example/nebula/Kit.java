// Kit.java - what the tests share: a registry of their own, servers to call, programs to start.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.function.Executable;

/**
 * Ends after each test what the test has begun, last first. Nothing waits for a time; what waits for an event has
 * patience.
 */
final class Kit implements AfterEachCallback {
    /** Nothing here takes that long on the slowest machine; a test that waits for it has failed. */
    static final Duration PATIENCE = Duration.ofSeconds(120);

    private static final Path REGISTRY = registry();

    private final Deque<AutoCloseable> begun = new ArrayDeque<>();

    /** Before the engine is made. Short, since a Unix socket's path must fit into 107 bytes. */
    private static Path registry() {
        try {
            Path folder = Files.createTempDirectory(Path.of("/tmp"), "neb-");
            System.setProperty("nebula.registry", "host:?dir=" + folder);
            Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder.toFile())));
            return folder;
        } catch (IOException refused) {
            throw new AssertionError(refused);
        }
    }

    private static void delete(File file) {
        File[] inside = file.listFiles();
        for (File each : inside == null ? new File[0] : inside) {
            delete(each);
        }
        file.delete();
    }

    @Override
    public void afterEach(ExtensionContext test) throws Exception {
        while (!begun.isEmpty()) {
            begun.pop().close();
        }
    }

    <T extends AutoCloseable> T ending(T each) {
        begun.push(each);
        return each;
    }

    /** A file or folder's path, gone after the test. */
    Path temporary() throws IOException {
        Path folder = Files.createTempDirectory(Path.of("/tmp"), "neb-");
        ending(() -> delete(folder.toFile()));
        return folder;
    }

    /** Starts a server, and gives its calls over TCP. */
    Client serve(Server server) {
        return connect(ending(server.listen("tcp://127.0.0.1:0").start()).urls().get(0));
    }

    Client connect(String target) {
        return ending(Nebula.connect(target)).client().withTimeout(PATIENCE);
    }

    /** Calls by name. */
    static Client byName() {
        return Nebula.client().withTimeout(PATIENCE);
    }

    static NebulaException failure(Executable fails) {
        return assertThrows(NebulaException.class, fails);
    }

    static NebulaException failure(CompletableFuture<?> future) {
        return failure(() -> {
            try {
                future.get(PATIENCE.toSeconds(), TimeUnit.SECONDS);
            } catch (java.util.concurrent.ExecutionException failed) {
                throw failed.getCause();
            }
        });
    }

    static void await(CountDownLatch latch) throws InterruptedException {
        assertTrue(latch.await(PATIENCE.toSeconds(), TimeUnit.SECONDS), "it did not happen");
    }

    static <T> T take(BlockingQueue<T> queue) throws InterruptedException {
        T taken = queue.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS);
        assertTrue(taken != null, "nothing came");
        return taken;
    }

    /** Waits for what no event tells of. */
    static void eventually(String what, BooleanSupplier condition) throws InterruptedException {
        for (long end = System.nanoTime() + PATIENCE.toNanos(); !condition.getAsBoolean(); Thread.sleep(2)) {
            if (System.nanoTime() > end) {
                fail("it did not happen: " + what);
            }
        }
    }

    // ---- programs ---------------------------------------------------------------------------------------------------

    /** A process, killed at the end of the test. */
    static final class Program implements AutoCloseable {
        final Process process;
        private final BufferedReader out;
        private final PrintStream in;

        private Program(List<String> command) throws IOException {
            ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
            builder.directory(new File("/tmp")); // not where the sources are
            builder.environment().put("NEBULA_REGISTRY", "host:?dir=" + REGISTRY);
            process = builder.start();
            out = process.inputReader(StandardCharsets.UTF_8);
            in = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
        }

        /** The next line that it prints. */
        String line() throws IOException {
            String line = out.readLine();
            assertTrue(line != null, "the program has ended");
            return line;
        }

        void tell(String line) {
            in.println(line);
        }

        void signal(String name) throws Exception {
            new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
        }

        int exitCode() throws InterruptedException {
            assertTrue(process.waitFor(PATIENCE.toSeconds(), TimeUnit.SECONDS), "the program goes on");
            return process.exitValue();
        }

        @Override
        public void close() {
            process.destroyForcibly().onExit().join();
        }
    }

    Program start(String... command) throws IOException {
        return ending(new Program(List.of(command)));
    }

    /** Starts a class of the tests. */
    Program startJava(Class<?> program, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(program.getName()));
        command.addAll(List.of(arguments));
        return startJava(command.toArray(new String[0]));
    }

    /** Starts a class, or a source. */
    Program startJava(String... programAndArguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin/java").toString(), "-Xcheck:jni", "-Xshare:auto",
                "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path")));
        command.addAll(List.of(programAndArguments));
        return ending(new Program(command));
    }
}

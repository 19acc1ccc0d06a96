// Abi.java - the C ABI as Java: the only class with native methods. nebula_jni.c is the other side.
package org.example.nebula;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * Each method is one crossing. Handles are addresses, calls and methods numbers of the engine's; texts cross as {@link
 * #text}. A negative answer is a NEBULA_E_... of nebula.h.
 */
final class Abi {
    static final int UNARY = 0, CLIENT_STREAM = 1, SERVER_STREAM = 2, BIDI = 3, HOLD = 8;

    static final int EV_CALL = 1, EV_HEADERS = 2, EV_MESSAGE = 3, EV_END = 4, EV_FINISHED = 5, EV_CANCELLED = 6;
    static final int EV_WRITABLE = 7, EV_DRAINED = 10;

    static final int END = 1, COMPRESS = 2, WANT_HEADERS = 4, WAIT_FOR_READY = 8, IDEMPOTENT = 16;
    static final int JSON = 32, PROTO = 64, GZIP = 128, ZSTD = 256, CHECK = 512;

    static final int FULL = 100, E_STALE = -2, E_STATE = -3;

    static {
        load();
    }

    private Abi() {}

    static native byte[] strerror(int code);

    /** registry null: that of NEBULA_REGISTRY, or the host's. */
    static native long engineNew(byte[] registry);

    static native long queueNew(long engine);

    /** The memory that poll fills with events. */
    static native ByteBuffer queueEvents(long queue);

    static native int poll(long queue, int timeoutMs);

    /** A copy of the engine's memory: what an event borrows until the next poll. */
    static native byte[] bytes(long address, int size);

    /** options: the numbers of nebula_server_options, in their order. */
    static native long serverNew(long engine, int[] options);

    static native int serverMethod(long server, byte[] path, int shape, long tag);

    static native int serverDescribe(long server, byte[] descriptorSet);

    static native int serverSchema(long server, byte[] service, byte[] document);

    static native void serverListen(long server, byte[] address, byte[] announce, byte[][] tls);

    static native void serverStart(long server, long[] queues);

    static native byte[] serverUrls(long server);

    static native int serverHealth(long server, byte[] service, int status);

    static native int serverDrain(long server, int timeoutMs, long tag);

    static native void serverFree(long server);

    static native int engineMetrics(long engine, long queue, long tag);

    /** options: max_message, keepalive_ms, keepalive_timeout_ms, keepalive_always, max_idle_ms, compression. */
    static native long channelNew(long engine, byte[] target, int[] options, byte[][] tls, byte[] policy);

    static native long channelMethod(long channel, byte[] path, int shape);

    static native void channelFree(long channel);

    /** data null: no message. parent: the server's call for which it is made; 0: none. 0: the call cannot be. */
    static native long callStart(
            long queue, long method, long tag, long timeoutUs, byte[] metadata, byte[] data, int flags, long parent);

    static native int callSend(long call, byte[] data, int flags);

    static native int callHeaders(long call, byte[] metadata);

    static native int callFinish(long call, int status, byte[] message, byte[] metadata);

    static native int callCancel(long call, int status);

    static native int callConsume(long call, long bytes);

    static native byte[] callPeer(long call);

    /** A text as C has it, with its NUL; null is NULL. */
    static byte[] text(String text) {
        return text == null ? null : (text.replace('\0', ' ') + '\0').getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? "" : new String(bytes, StandardCharsets.UTF_8);
    }

    static EngineException refusal(int code) {
        return new EngineException(code, 0, strerror(code));
    }

    /** The library is in the jar, and goes into a file for as long as it takes to load it. */
    private static void load() {
        String given = System.getProperty("nebula.library"); // for where nothing may be written at all
        if (given != null) {
            System.load(given);
            return;
        }
        String name = "linux-" + System.getProperty("os.arch") + "/libnebula_jni.so";
        // For where no file of java.io.tmpdir may be executed.
        String directory = System.getProperty("nebula.library.directory", System.getProperty("java.io.tmpdir"));
        try (InputStream packed = Abi.class.getResourceAsStream(name)) {
            if (packed == null) {
                throw new UnsatisfiedLinkError(name + " is not in the jar: see bindings/java/README.md");
            }
            Path file = Files.createTempFile(Path.of(directory), "nebula", ".so");
            try {
                Files.copy(packed, file, StandardCopyOption.REPLACE_EXISTING);
                System.load(file.toString());
            } finally {
                Files.delete(file);
            }
        } catch (IOException refused) {
            throw new UncheckedIOException("libnebula_jni.so cannot be unpacked into " + directory, refused);
        }
    }
}

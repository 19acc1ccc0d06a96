// TlsTest.java - tls:// on both sides.
package org.example.nebula;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;

class TlsTest {
    @RegisterExtension
    final Kit kit = new Kit();

    /** Makes a certificate for that name that vouches for itself, and gives its file, which has the key too. */
    private String certificate(String name) throws Exception {
        String file = kit.temporary().resolve("pair.pem").toString();
        String[] command = {
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=" + name, "-addext", "subjectAltName=DNS:" + name, "-keyout", file, "-out", file + ".2"};
        assertEquals(0, new ProcessBuilder(command).redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start().waitFor());
        String[] append = {"sh", "-c", "cat " + file + ".2 >> " + file};
        assertEquals(0, new ProcessBuilder(append).start().waitFor());
        return file;
    }

    @Test
    void tlsOfBothSides() throws Exception {
        String server = certificate("hello.test"), client = certificate("client.test");
        Server serving = kit.ending(new Server(new ServerOptions().tls(new Tls(server, client)))
                .listen("tls://127.0.0.1:0")
                .unary("hello.greet", Person.class, String.class, (in, context) -> "Hello " + in.name()).start());
        assertEquals("Hello Ada", call(serving, new Tls(client, null, server, "hello.test")));
        Tls[] wrong = {
            null, // it trusts nobody who knows this server
            new Tls(client, null, server, "other.test"), new Tls(null, null, server, "hello.test")};
        for (Tls each : wrong) {
            assertEquals(Code.UNAVAILABLE, Kit.failure(() -> call(serving, each)).code());
        }
        EngineException missing = assertThrows(EngineException.class,
                () -> Nebula.connect("tls://127.0.0.1:1", new ChannelOptions().tls(new Tls(null, "/no/such/file"))));
        assertTrue(missing.getMessage().contains("/no/such/file"), missing.getMessage());
    }

    private static String call(Server server, Tls tls) {
        try (Channel channel = Nebula.connect(server.urls().get(0), new ChannelOptions().tls(tls))) {
            return channel.client().withTimeout(Kit.PATIENCE).call("hello.greet", new Person("Ada"), String.class);
        }
    }
}

// java/Program.java - the conformance program of Java: tests/bindings/README.md says what it does.
package org.example.nebula.conformance;

import java.util.Arrays;

final class Program {
    static final String SERVICE = "nebula.test.v1.Conformance";

    private Program() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length > 1 && arguments[0].equals("serve")) {
            new Served().serve(Arrays.copyOfRange(arguments, 1, arguments.length));
        } else if (arguments.length == 2 && arguments[0].equals("call")) {
            Called.call(arguments[1]);
        } else {
            throw new IllegalArgumentException("usage: serve <url>... | call <target>");
        }
    }
}

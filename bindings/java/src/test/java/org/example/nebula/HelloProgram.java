// HelloProgram.java - a service in a process of its own, for the tests.
package org.example.nebula;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.Map;

final class HelloProgram {
    private HelloProgram() {}

    /** arguments: the service's name. Its method "wait" says so when it is called, and answers when told to. */
    public static void main(String[] arguments) {
        BufferedReader told = new BufferedReader(new InputStreamReader(System.in));
        String name = arguments[0];
        new Server(new ServerOptions().drainTimeout(Duration.ofSeconds(120)))
                .unary(name + ".greet", Person.class, String.class, (person, context) -> "Hello " + person.name() + "!")
                .unary(name + ".wait", Map.class, String.class, (any, context) -> {
                    System.out.println("entered");
                    return told.readLine();
                }).run();
    }
}

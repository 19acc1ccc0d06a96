// AbandonsProgram.java - a program that ends while it serves and calls, for the tests.
package org.example.nebula;

import java.util.concurrent.CountDownLatch;

final class AbandonsProgram {
    private AbandonsProgram() {}

    /**
     * arguments: the exit code; none: main returns. It does so when its own calls, and then one of somebody else's, are
     * in their handlers.
     */
    public static void main(String[] arguments) throws InterruptedException {
        CountDownLatch ours = new CountDownLatch(2), all = new CountDownLatch(3);
        CountDownLatch never = new CountDownLatch(1);
        new Server()
                .unary("abandons.wait", Integer.class, Integer.class, (in, context) -> {
                    ours.countDown();
                    all.countDown();
                    never.await();
                    return in;
                })
                .bidi("abandons.chat", Integer.class, Integer.class, (stream, context) -> {
                    ours.countDown();
                    all.countDown();
                    stream.receive();
                }).start();
        Nebula.callAsync("abandons.wait", 1, Integer.class);
        try (var chat = Nebula.client().bidi("abandons.chat", Integer.class, Integer.class)) {
            ours.await();
            System.out.println("serving");
            all.await();
            if (arguments.length > 0) {
                System.exit(Integer.parseInt(arguments[0]));
            }
        }
    }
}

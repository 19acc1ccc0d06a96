// Running.java - a program that is a service: banner, signals, and an orderly end.
package org.example.nebula;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import sun.misc.Signal;
import sun.misc.SignalHandler;

final class Running {
    private final Server server;
    private final CountDownLatch asked = new CountDownLatch(1);
    private final Map<Signal, SignalHandler> before = new HashMap<>();

    Running(Server server) {
        this.server = server;
    }

    void run() {
        // Not a shutdown hook: with that the exit code would be that of a death by the signal.
        for (String name : new String[] {"INT", "TERM"}) {
            Signal signal = new Signal(name);
            before.put(signal, Signal.handle(signal, any -> asked.countDown()));
        }
        try {
            if (!server.hasStarted()) {
                server.start();
            }
            String urls = String.join("   ", server.urls().stream().sorted().toList()); // "tcp:" before "unix:"
            server.services().forEach(name -> System.out.println(name + "  (java)  ready   " + urls));
            asked.await();
            restore(); // the next one ends the process, as ever
            server.drain();
        } catch (InterruptedException now) {
            Thread.currentThread().interrupt();
        } finally {
            restore();
            server.close();
        }
    }

    private void restore() {
        before.forEach(Signal::handle);
        before.clear();
    }
}

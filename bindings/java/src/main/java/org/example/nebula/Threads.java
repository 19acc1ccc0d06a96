// Threads.java - threads for handlers.
package org.example.nebula;

import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

final class Threads {
    private static final Executor EACH = virtual();

    private Threads() {}

    /** Each task in a thread of its own: a virtual one where Java has those, else one that has nothing else to do. */
    static Executor each() {
        return EACH;
    }

    private static Executor virtual() {
        try { // from Java 21 on
            return (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
        } catch (ReflectiveOperationException none) { // 17; or a preview that was not enabled
            AtomicLong count = new AtomicLong();
            return Executors.newCachedThreadPool(task -> {
                Thread thread = new Thread(task, "nebula-handler-" + count.incrementAndGet());
                thread.setDaemon(true);
                return thread;
            });
        }
    }
}

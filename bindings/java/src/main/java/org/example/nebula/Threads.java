// Threads.java - threads for handlers.
package org.example.nebula;

import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.FutureTask;
import java.util.concurrent.atomic.AtomicLong;

final class Threads {
    private static final Executor EACH = virtual();

    private Threads() {}

    /** Each task in a thread of its own: a virtual one where Java has those, else one that has nothing else to do. */
    static Executor each() {
        return EACH;
    }

    /** Runs a call aside, as part of the call that is being handled here. Who cancels the future interrupts it. */
    static <T> CompletableFuture<T> callAside(Callable<T> call) {
        CompletableFuture<T> future = new CompletableFuture<>();
        FutureTask<T> task = new FutureTask<>(Context.inherited(call)) {
            @Override
            protected void done() {
                if (isCancelled()) {
                    return;
                }
                try {
                    future.complete(get());
                } catch (ExecutionException failed) {
                    future.completeExceptionally(failed.getCause());
                } catch (InterruptedException cannotBe) {
                    throw new AssertionError(cannotBe);
                }
            }
        };
        future.whenComplete((value, failure) -> task.cancel(true));
        EACH.execute(task);
        return future;
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

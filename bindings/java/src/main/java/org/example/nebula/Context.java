// Context.java - a call as its handler has it, and what calls made meanwhile inherit from it.
package org.example.nebula;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;

/** What a handler may know and do about its call besides its messages. For any thread. */
public final class Context {
    private static final ThreadLocal<Context> CURRENT = new ThreadLocal<>();
    private static final long CENTURY_US = 100L * 365 * 86_400 * 1_000_000; // long enough

    final MessageFlow flow; // the call's number, and the messages of a stream
    final boolean asJson;
    private final Method method;
    private final byte[] block;
    private final long deadline; // on the clock of System.nanoTime()
    private final boolean hasDeadline;

    private volatile FilteredCall filtered; // the innermost filter's; null: there are none
    private volatile Object answer; // of a handler inside of filters

    // Under the lock of this.
    private final List<Runnable> onCancel = new ArrayList<>();
    private boolean isOver;
    private boolean hasHeaders; // that were sent
    private byte[] trailers;
    private Code died;

    Context(Method method, Event call) {
        this.method = method;
        flow = new MessageFlow(call.call());
        asJson = call.has(Abi.JSON);
        block = call.metadata();
        hasDeadline = call.value() != 0;
        deadline = System.nanoTime() + Math.min(call.value(), CENTURY_US) * 1000;
    }

    /** The call that is being handled on this thread; null outside of handlers. */
    public static Context current() {
        return CURRENT.get();
    }

    /** Runs work as part of this call, on whatever thread: {@link #current} is this, and calls inherit from it. */
    public <T> T run(Callable<T> work) throws Exception {
        return runWith(this, work);
    }

    /** Runs work as part of no call: what is begun in it may outlive the call that is being handled. */
    public static <T> T detached(Callable<T> work) throws Exception {
        return runWith(null, work);
    }

    /** Work as part of the call that is being handled on this thread, for another one. */
    static <T> Callable<T> inherited(Callable<T> work) {
        Context context = CURRENT.get();
        return context == null ? work : () -> context.run(work);
    }

    private static <T> T runWith(Context context, Callable<T> work) throws Exception {
        Context before = CURRENT.get();
        CURRENT.set(context);
        try {
            return work.call();
        } finally {
            if (before == null) {
                CURRENT.remove();
            } else {
                CURRENT.set(before);
            }
        }
    }

    /** The path of the method: "/hello/greet". */
    public String method() {
        return method.path();
    }

    /** What the caller sent beside the request. */
    public Metadata metadata() {
        FilteredCall innermost = filtered;
        return innermost == null ? Metadata.unpack(block) : innermost.metadata();
    }

    FilteredCall filtered() {
        return filtered;
    }

    /** Of a handler inside of filters. */
    Object answer() {
        return answer;
    }

    void setAnswer(Object message) {
        answer = message;
    }

    void filter(FilteredCall innermost) {
        filtered = innermost;
    }

    /** Who calls: "tcp://127.0.0.1:40812" or "unix:..."; "" once the call is over. */
    public String peer() {
        return Abi.text(Abi.callPeer(flow.call));
    }

    /** Until the caller waits no more, never negative; empty: it waits for ever. */
    public Optional<Duration> timeLeft() {
        long left = Math.max(0, deadline - System.nanoTime());
        return hasDeadline ? Optional.of(Duration.ofNanos(left)) : Optional.empty();
    }

    /** Whether nobody waits for the answer any more: the caller gave up or left, or the deadline has passed. */
    public synchronized boolean isCancelled() {
        return died != null;
    }

    /** Does something quick when nobody waits for the answer any more; now, if that is so already. */
    public void onCancel(Runnable action) {
        synchronized (this) {
            if (died == null) {
                onCancel.add(action);
                return;
            }
        }
        action.run();
    }

    /**
     * Sends metadata ahead of the answer: at most once, and before the first one.
     *
     * @throws IllegalStateException the second time, or after an answer
     */
    public synchronized void sendHeaders(Metadata headers) {
        if (hasHeaders) {
            throw new IllegalStateException("the headers were sent already");
        }
        hasHeaders = true;
        int result = Abi.callHeaders(flow.call, headers.pack());
        if (result < 0 && result != Abi.E_STALE) {
            throw new IllegalStateException(Abi.refusal(result));
        }
    }

    /**
     * The metadata to go after the answer, or the last of them, or with an error that has none. The last one set
     * counts.
     */
    public synchronized void setTrailers(Metadata metadata) {
        trailers = metadata.pack();
    }

    // ---- what calls inherit -----------------------------------------------------------------------------------------

    /**
     * The timeout of a call, in which 0 is none: the given one, but no more than the call that is being handled has
     * left.
     */
    static long microseconds(Method method, Duration timeout) {
        Context parent = CURRENT.get();
        if (parent != null && parent.failure() != null) {
            throw NebulaException.unsent(
                    parent.failure().code(), method.label() + ": the call that it would be made for is over");
        }
        Duration left = parent == null ? null : parent.timeLeft().orElse(null);
        Duration shortest = timeout == null || (left != null && left.compareTo(timeout) < 0) ? left : timeout;
        if (shortest == null) {
            return 0;
        }
        // One that has passed already is the shortest.
        return shortest.getSeconds() > CENTURY_US / 1_000_000 ? CENTURY_US : Math.max(1, shortest.toNanos() / 1000);
    }

    /** The call that is being handled on this thread, for the engine; 0: none. */
    static long parent() {
        Context parent = CURRENT.get();
        return parent == null ? 0 : parent.flow.call;
    }

    /** A call that ends with the one that it was made for. */
    record Child(Context parent, Runnable cancel) {}

    /** To be released when that call has ended; null: it was made for none. */
    static Child adopt(long call) {
        Context parent = CURRENT.get();
        if (parent == null) {
            return null;
        }
        Child child = new Child(parent, () -> Abi.callCancel(call, parent.failure().code().ordinal()));
        parent.onCancel(child.cancel);
        return child;
    }

    static void release(Child child) {
        if (child != null) {
            synchronized (child.parent) {
                child.parent.onCancel.remove(child.cancel);
            }
        }
    }

    // ---- its life ---------------------------------------------------------------------------------------------------

    /** Nobody waits for the answer any more. */
    void die(Code why) {
        List<Runnable> actions;
        synchronized (this) {
            if (died != null || isOver) {
                return;
            }
            died = why;
            actions = List.copyOf(onCancel);
        }
        flow.end();
        for (Runnable action : actions) {
            try {
                action.run();
            } catch (RuntimeException bug) { // of one; the others are run
                Port.LOG.log(System.Logger.Level.ERROR, "a callback failed", bug);
            }
        }
    }

    /** The handler is done: whoever still holds a stream of it gets no answer. */
    void end() {
        synchronized (this) {
            isOver = true;
            onCancel.clear();
        }
        flow.end();
    }

    /** How the call died; null: it has not. */
    synchronized NebulaException failure() {
        return died == null ? null : new NebulaException(died, method.label() + ": the caller waits no more");
    }

    synchronized byte[] trailers() {
        return trailers;
    }
}

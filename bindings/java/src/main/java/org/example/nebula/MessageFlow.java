// MessageFlow.java - the messages of one streaming call, both ways, as bytes.
package org.example.nebula;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;

/**
 * Receiving: the engine hands out so much of a stream and goes on as it is consumed here, so a slow reader stops the
 * sender. Sending: a message over the engine's mark is taken too, but then one waits until the peer has taken some.
 * Filled by a port; one thread receives and one sends.
 */
final class MessageFlow {
    /** Messages taken are reported in portions of so many; the engine stops the sender at four times as many. */
    private static final int PORTION_BYTES = 64 << 10, PORTION_MESSAGES = 512;

    /** What became of a message to send. */
    enum Sent { TAKEN, CALL_IS_OVER, STREAM_HAS_ENDED }

    // Not a monitor: before Java 24 a virtual thread that waits for one keeps its carrier.
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final Deque<byte[]> inbox = new ArrayDeque<>();
    long call; // 0 until it has begun
    private boolean ended; // the peer sends no more
    private boolean over; // nothing can be sent any more
    private int writables; // how often there was room again
    private int bytes, messages; // taken, not reported yet; the receiver's

    MessageFlow(long call) {
        this.call = call;
    }

    void update(Runnable change) {
        lock.lock();
        try {
            change.run();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** Takes one of the events of a stream. */
    void on(Event event) {
        update(() -> {
            if (event.kind() == Abi.EV_WRITABLE) {
                writables++;
                return;
            }
            if (event.data() != null) {
                inbox.add(event.data());
            }
            ended |= event.kind() == Abi.EV_END || event.has(Abi.END);
        });
    }

    /** The call is over, however it ended. What has come is still there. */
    void end() {
        update(() -> {
            over = true;
            ended = true;
        });
    }

    boolean isOver() {
        return over;
    }

    /** Until something of this kind is so, which only changes by {@link #update}. */
    void await(BooleanSupplier condition) {
        lock.lock();
        try {
            while (!condition.getAsBoolean()) {
                Port.checkMayBlock();
                changed.await();
            }
        } catch (InterruptedException now) {
            throw NebulaException.interrupted();
        } finally {
            lock.unlock();
        }
    }

    /** Waits for the next message; null: there are no more. */
    byte[] receive() {
        byte[] data;
        lock.lock();
        try {
            await(() -> ended || !inbox.isEmpty());
            data = inbox.poll();
        } finally {
            lock.unlock();
        }
        if (data == null) {
            return null;
        }
        bytes += data.length;
        messages++;
        if (bytes >= PORTION_BYTES || messages >= PORTION_MESSAGES) {
            Abi.callConsume(call, bytes);
            bytes = 0;
            messages = 0;
        }
        return data;
    }

    /** Submits a message, null for none, and waits for room. */
    Sent send(byte[] data, int flags) {
        int before = writablesNow();
        int result = Abi.callSend(call, data, flags);
        if (result == Abi.FULL) {
            await(() -> writables != before || over);
        } else if (result == Abi.E_STALE) {
            return Sent.CALL_IS_OVER;
        } else if (result == Abi.E_STATE) {
            return Sent.STREAM_HAS_ENDED;
        } else if (result < 0) {
            throw Abi.refusal(result);
        }
        return Sent.TAKEN;
    }

    private int writablesNow() {
        lock.lock();
        try {
            return writables;
        } finally {
            lock.unlock();
        }
    }
}

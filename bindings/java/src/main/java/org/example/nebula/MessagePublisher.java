// MessagePublisher.java - the messages of a stream as java.util.concurrent.Flow has them.
package org.example.nebula;

import java.util.concurrent.Flow;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/** For one subscriber: a stream's messages come once. One is read ahead of what it has asked for, to see the end. */
final class MessagePublisher<T> implements Flow.Publisher<T> {
    private final Reader<T> reader;
    private final AtomicBoolean isTaken = new AtomicBoolean();

    MessagePublisher(Reader<T> reader) {
        this.reader = reader;
    }

    @Override
    public void subscribe(Flow.Subscriber<? super T> subscriber) {
        Pull pull = new Pull(subscriber);
        subscriber.onSubscribe(pull);
        if (!isTaken.compareAndSet(false, true)) {
            subscriber.onError(new IllegalStateException("a stream has one subscriber"));
        } else {
            Threads.each().execute(pull);
        }
    }

    private final class Pull implements Flow.Subscription, Runnable {
        private final Flow.Subscriber<? super T> subscriber;
        private final ReentrantLock lock = new ReentrantLock();
        private final Condition changed = lock.newCondition();
        private long wanted;
        private volatile boolean isCancelled;
        private Throwable misuse;

        Pull(Flow.Subscriber<? super T> subscriber) {
            this.subscriber = subscriber;
        }

        @Override
        public void request(long count) {
            change(() -> {
                if (count <= 0) {
                    misuse = new IllegalArgumentException("a subscriber asks for one message at least");
                }
                wanted = wanted + count < 0 ? Long.MAX_VALUE : wanted + count;
            });
        }

        @Override
        public void cancel() {
            change(() -> isCancelled = true);
            if (reader instanceof CallStream<?, ?> stream) {
                stream.close(); // whoever waits for its next message is told
            }
        }

        private void change(Runnable how) {
            lock.lock();
            try {
                how.run();
                changed.signalAll();
            } finally {
                lock.unlock();
            }
        }

        /** Waits until the next message is asked for; false: the subscription has ended. */
        private boolean isWanted() throws Throwable {
            lock.lock();
            try {
                while (wanted == 0 && !isCancelled && misuse == null) {
                    changed.await();
                }
                if (misuse != null) {
                    throw misuse;
                }
                wanted--;
                return !isCancelled;
            } finally {
                lock.unlock();
            }
        }

        @Override
        public void run() {
            try {
                for (T message : reader) {
                    if (message == null) {
                        continue;
                    }
                    if (!isWanted()) {
                        return;
                    }
                    subscriber.onNext(message);
                }
            } catch (Throwable failure) {
                if (!isCancelled) {
                    cancel(); // the stream is of no more use
                    subscriber.onError(failure);
                }
                return;
            }
            if (!isCancelled) {
                subscriber.onComplete();
            }
        }
    }
}

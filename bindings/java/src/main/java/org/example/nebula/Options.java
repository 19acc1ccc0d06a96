// Options.java - the options of servers and channels, as the engine takes them.
package org.example.nebula;

import java.time.Duration;

/** An option that is not set is 0, which is the engine's default. */
abstract class Options<Self extends Options<Self>> {
    final int[] numbers;
    Tls tls;

    Options(int count) {
        numbers = new int[count];
    }

    @SuppressWarnings("unchecked") // each subclass names itself
    final Self set(int index, int number) {
        if (number < 0) {
            throw new IllegalArgumentException("an option is negative: " + number);
        }
        numbers[index] = number;
        return (Self) this;
    }

    final Self set(int index, Duration time) {
        return set(index, milliseconds(time));
    }

    /** Rounded up, for 0 would be the default. */
    static int milliseconds(Duration time) {
        return (int) Math.min(time.plusNanos(999_999).toMillis(), Integer.MAX_VALUE);
    }
}

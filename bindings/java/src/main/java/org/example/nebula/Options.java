// Options.java - the options of servers and channels, as the engine takes them.
package org.example.nebula;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** An option that is not set is 0, which is the engine's default. */
abstract class Options<Self extends Options<Self>> {
    final int[] numbers;
    Tls tls;
    List<Filter> filters = List.of();

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

    /** Around all calls, inside of those that are set already. The first is the outermost. */
    @SuppressWarnings("unchecked") // each subclass names itself
    public final Self filters(Filter... more) {
        filters = joined(filters, more);
        return (Self) this;
    }

    static List<Filter> joined(List<Filter> filters, Filter... more) {
        List<Filter> all = new ArrayList<>(filters);
        all.addAll(List.of(more)); // which has no null
        return List.copyOf(all);
    }

    /** Rounded up, for 0 would be the default. */
    static int milliseconds(Duration time) {
        return (int) Math.min(time.plusNanos(999_999).toMillis(), Integer.MAX_VALUE);
    }
}

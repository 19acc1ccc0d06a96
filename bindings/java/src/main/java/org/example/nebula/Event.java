// Event.java - a nebula_event, in memory of Java's.
package org.example.nebula;

/** data null: no message. value: as nebula.h says for the kind. */
record Event(long call, long tag, int kind, int flags, int status, byte[] data, byte[] metadata, long value) {
    boolean has(int flag) {
        return (flags & flag) != 0;
    }
}

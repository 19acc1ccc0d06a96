// Fate.java - how far the request of a call got.
package org.example.nebula;

/** How far the request of a call got, for whoever wants to repeat it. */
public enum Fate {
    /** It never left this process: repeating it is safe. */
    UNSENT,
    /** The peer says that its application has not seen it: repeating it is safe. */
    UNPROCESSED,
    /** The connection was lost, or we gave up: it may have been executed. */
    UNKNOWN,
    /** The peer's application has answered or refused it. */
    PROCESSED
}

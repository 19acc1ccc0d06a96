// Fault.java - whose fault a failure is.
package org.example.nebula;

/** Whose fault a failure is. */
public enum Fault {
    NONE, CALLER, NETWORK, CALLEE, OVERLOAD
}

// EngineException.java - what the engine refuses.
package org.example.nebula;

/** An address that is taken, a file that cannot be read, a method that is none. The message says which. */
public final class EngineException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int code;
    private final int errno;

    EngineException(int code, int errno, byte[] message) {
        super(Abi.text(message));
        this.code = code;
        this.errno = errno;
    }

    /** A NEBULA_E_... of nebula.h. */
    public int code() {
        return code;
    }

    /** The system's error number behind it; 0: there is none. */
    public int errno() {
        return errno;
    }
}

// Compression.java - how messages may be compressed.
package org.example.nebula;

/** Do not compress what holds a secret beside what a stranger may choose: its size would tell. */
public enum Compression {
    NONE(0),
    /** Which every gRPC server knows. */
    GZIP(Abi.GZIP),
    /** Which Nebula's do. */
    ZSTD(Abi.ZSTD);

    final int flag;

    Compression(int flag) {
        this.flag = flag;
    }
}

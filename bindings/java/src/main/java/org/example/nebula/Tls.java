// Tls.java - files for tls:// addresses.
package org.example.nebula;

/**
 * Files (PEM) for the tls:// addresses of a server or a channel. They are read again when they have changed.
 *
 * @param certificate ours, with its intermediates; a server must have one
 * @param key null: in the same file
 * @param authorities who may vouch for the peer; null: the system's, and on a server nobody is asked
 * @param serverName of a client: what the server's certificate must be for; null: the host of the address
 */
public record Tls(String certificate, String key, String authorities, String serverName) {
    /**
     * A server's, whose clients need no certificate; or, where certificate is null, a client's that trusts authorities.
     */
    public Tls(String certificate, String authorities) {
        this(certificate, null, authorities, null);
    }

    static byte[][] texts(Tls tls) {
        return tls == null ? null : new byte[][] {
            Abi.text(tls.certificate), Abi.text(tls.key), Abi.text(tls.authorities), Abi.text(tls.serverName)};
    }
}

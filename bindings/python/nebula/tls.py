"""TLS: whom to trust, and what to show."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional, Union

Path = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class TLS:
    """Files (PEM) for the tls:// addresses of a server or a channel. They are read again when they have changed, so a
    certificate is renewed by replacing its files: new connections use the new pair, and no call is lost.

    certificate: ours, followed by those between it and its authority. A server must have one; a client shows it to
    servers that ask. key: its private key, if that is not in the same file.

    authorities: who may vouch for the peer, and their revocation lists, if there are. A client without trusts the
    authorities of the system. A server without asks no client for a certificate; with them, no client comes in without
    one.

    server_name: for a client, the name or IP address that the server's certificate must be for; None: the host of the
    address.
    """

    certificate: Optional[Path] = None
    key: Optional[Path] = None
    authorities: Optional[Path] = None
    server_name: Optional[str] = None

    def _texts(self) -> tuple[Optional[str], ...]:
        """In the order of nebula_tls."""
        files = (self.certificate, self.key, self.authorities)
        return (*(None if file is None else os.fspath(file) for file in files), self.server_name)

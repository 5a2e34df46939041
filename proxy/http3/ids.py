"""
The ids of connections, which say whose they are: packets find their process by them, also while one takes over from
another.

An id holds the port at which its process takes what was passed on to it, and a tag that only a process of this gateway
can have made, so that no client has us send packets to a port of its choice.
"""

import hashlib
import os

LENGTH = 12
"""Bytes of an id: a port, what tells it from others, and the tag."""
_PORT, _TAG = 2, 5


class ConnectionIds:
    """Those of one process."""

    def __init__(self, secret: bytes, port: int) -> None:
        """*secret* is the gateway's, of 16 to 64 bytes; *port* the process's own."""
        self._secret = secret
        self._port = port.to_bytes(_PORT, "big")

    def make(self) -> bytes:
        """A new one."""
        told = self._port + os.urandom(LENGTH - _PORT - _TAG)
        return told + self._tag(told)

    def elsewhere(self, connection_id: bytes) -> int | None:
        """The port of the process that made this id; None where it is this one's or no process's."""
        told, tag = connection_id[:-_TAG], connection_id[-_TAG:]
        if len(connection_id) != LENGTH or told.startswith(self._port) or tag != self._tag(told):
            return None
        return int.from_bytes(told[:_PORT], "big")

    def _tag(self, told: bytes) -> bytes:
        return hashlib.blake2b(told, key=self._secret, digest_size=_TAG).digest()

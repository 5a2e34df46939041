"""
A way through a forward proxy: CONNECT (RFC 9110 section 9.3.6) on a connection to the proxy, which then leads to the
provider.

It speaks to the proxy alone; what goes through the tunnel, TLS with the provider included, is the caller's.
"""

import asyncio
import base64
import re
import socket
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES = 16 * 1024
"""Of the proxy's answer."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


class TunnelRefused(OSError):
    """The proxy does not let us through; the text says how it answered."""


class NoHost(ValueError):
    """A URL leads nowhere."""


def address_in(url: str) -> tuple[str, int]:
    """The host that *url* names and its port, its scheme's where it names none; `NoHost` without a host."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise NoHost("a URL without a host")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


@dataclass(frozen=True, slots=True)
class ForwardProxy:
    """Where it is, and what it wants to know of us."""

    host: str
    port: int
    credentials: bytes
    """A header line, or nothing."""

    @classmethod
    def at(cls, url: str) -> "ForwardProxy":
        """*url*: `http://host:port`, perhaps with `user:password@`, escaped as in every URL."""
        parts, (host, port) = urlsplit(url), address_in(url)
        credentials = b""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            credentials = b"Proxy-Authorization: Basic %b\r\n" % base64.b64encode(pair)
        return cls(host, port, credentials)

    async def open(self, sock: socket.socket, host: str, port: int) -> None:
        """Have *sock*, which is connected to the proxy, lead to *host* and *port*; `TunnelRefused` when it will not."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        name = target.encode("idna") if not target.isascii() else target.encode()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (name, name, self.credentials))
        head = b""
        while b"\r\n\r\n" not in head:
            part = await loop.sock_recv(sock, 4096)
            head += part
            if not part or len(head) > MAX_HEAD_BYTES:
                raise TunnelRefused("no whole answer")
        status = _STATUS.match(head)
        if status is None:
            raise TunnelRefused("no HTTP")
        if not 200 <= int(status[1]) < 300:
            raise TunnelRefused(f"status {int(status[1])}")
        if not head.endswith(b"\r\n\r\n"):
            # The provider speaks only when it is asked, so this is not the provider's.
            raise TunnelRefused("bytes behind the answer")

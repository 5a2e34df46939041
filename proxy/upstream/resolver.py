"""
The addresses of a host for aiohttp, looked up as the wire looks them up.

aiohttp's own resolvers leave out a family that only loopback has, so that a probe could miss what calls reach.
"""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult


class Resolver(AbstractResolver):
    """Asks the system; when that fails, its last answer serves on. How long an answer is used is the caller's."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], list[ResolveResult]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Every address of *host*, best first; `OSError` where there never was one."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
            )
        except OSError:
            if (host, port) not in self._last:
                raise
        else:
            self._last[host, port] = [
                ResolveResult(
                    hostname=host,
                    host=_shown(address),
                    port=port,
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
                for kind, _, proto, _, address in found
            ]
        return self._last[host, port]

    async def close(self) -> None:
        """Nothing is open."""


def _shown(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """With its zone, without which a link-local address leads nowhere."""
    host = str(address[0])
    return f"{host}%{address[3]}" if len(address) > 3 and address[3] else host

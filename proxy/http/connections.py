"""
The connections of all clients: made by the listening socket, counted, bounded, and closed when the process ends.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any, cast

from aiohttp import web

from proxy.http.address import within
from proxy.http.connection import Bounds, ClientConnection, Refuse
from proxy.http.files import affordable_connections
from proxy.settings.server import Server as Rules

HTTP_1 = "http1"
"""How metrics call what is spoken over TCP, which HTTP/1.0 is as well."""
KEEP_ALIVE = 300.0
"""Seconds a connection stays open without a request."""
LINGER = 5.0
"""Seconds a client may still send of a body that is not wanted, so that it can read its answer."""
READ_AHEAD = 64 * 1024
"""Bytes of a body that aiohttp holds for a handler before the client has to wait; it takes up to twice as many."""
LOOKED_AT = 1000
"""Connections looked at, the oldest first, for one that can be closed in favour of a new one."""


class Served:
    """Where and to how many clients this process serves; all 0 and empty while another server than ours does."""

    def __init__(self) -> None:
        self.addresses: list[tuple[str, int]] = []
        """Where it listens."""
        self.udp_port = 0
        """Where it serves HTTP/3; 0 where it does not."""
        self.alternative = b""
        """The header line that tells of another way to ask, with its line end; empty where there is none."""
        self.by_protocol = {HTTP_1: 0}
        """Connections of clients, by how they speak."""
        self.turned_away = {"all": 0, "address": 0}
        """Connections that were closed since there were too many, of all clients or of one address."""
        self.certificates: dict[str, float] = {}
        """When the certificate that clients are shown expires, in seconds since 1970, by `https` and `http3`."""
        self.on_closed: Callable[[str, float], object] = lambda protocol, seconds: None
        """Told of each connection's end: how its client spoke, and the seconds it was open."""

    @property
    def open(self) -> int:
        """Connections of clients."""
        return sum(self.by_protocol.values())

    async def accepts(self) -> bool:
        """Whether it takes a connection."""
        for address in self.addresses:
            try:
                _, writer = await asyncio.open_connection(*address)
            except OSError:
                return False
            writer.close()
        return bool(self.addresses)


class ClientConnections(web.Server):
    """What a listening socket makes its connections with, and all it has made."""

    def __init__(self, server: web.Server, refuse: Refuse, rules: Rules, served: Served) -> None:
        """
        *server* is aiohttp's for the application: its handler is cancelled when its client leaves. *refuse* answers
        what never became a request. *served* is told of them.
        """
        super().__init__(server.request_handler, request_factory=server.request_factory, handler_cancellation=True)
        self._refuse = refuse
        self._of_address: Counter[str] = Counter()
        self._served = served
        self._options: dict[str, Any] = {
            "loop": asyncio.get_running_loop(),
            # Bodies are passed on as they are; what is compressed is refused, not inflated behind our back.
            "auto_decompress": False,
            # Lines are written from the ended exchange.
            "access_log": None,
            "read_bufsize": READ_AHEAD,
            "keepalive_timeout": KEEP_ALIVE,
            "lingering_time": LINGER,
        }
        self.obey(rules)
        # In the order they came.
        self._open: dict[ClientConnection, None] = {}
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    def obey(self, rules: Rules) -> None:
        """What is asked of connections that are made from now on."""
        self._bounds = Bounds(rules.read_timeout, rules.write_timeout, rules.max_header_bytes, self._refuse)
        self._most = rules.max_connections or affordable_connections()
        self._most_of_one = rules.max_connections_per_address
        self._is_proxy = within(rules.trusted_proxies)
        self._options["max_line_size"] = self._options["max_field_size"] = rules.max_header_bytes

    def __call__(self) -> ClientConnection:
        return ClientConnection(self, self._bounds, **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        connection = cast(ClientConnection, handler)
        self._open[connection] = None
        self._served.by_protocol[HTTP_1] += 1
        self._of_address[connection.peer] += 1
        self._all_closed.clear()
        too_many = self._most_of_one and self._of_address[connection.peer] > self._most_of_one
        if too_many and not self._is_proxy(connection.peer):
            self._served.turned_away["address"] += 1
            transport.abort()
        elif len(self._open) > self._most:
            self._served.turned_away["all"] += 1
            waiting = (each for each in islice(self._open, LOOKED_AT) if each.waiting)
            dispensable = next(waiting, None)
            if dispensable is None:
                transport.abort()
            else:
                dispensable.force_close()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        connection = cast(ClientConnection, handler)
        del self._open[connection]
        self._served.by_protocol[HTTP_1] -= 1
        self._of_address[connection.peer] -= 1
        if not self._of_address[connection.peer]:
            del self._of_address[connection.peer]
        self._served.on_closed(HTTP_1, asyncio.get_running_loop().time() - connection.opened)
        if not self._open:
            self._all_closed.set()

    @property
    def unasked(self) -> bool:
        """A client has connected and not yet sent a whole request."""
        return any(connection.never_asked for connection in self._open)

    def close_idle(self) -> None:
        """Close the connections on which no request is under way; the others close after their answer."""
        for connection in list(self._open):
            if connection.idle:
                connection.force_close()

    async def close_all(self) -> None:
        """Close every connection, none of which has a request under way, and wait until their last bytes have left."""
        for connection in list(self._open):
            if connection.waiting:
                connection.force_close()
            else:
                connection.close()
        await self._all_closed.wait()


class GatewayRunner(web.AppRunner):
    """Serves an application over connections of ours."""

    def __init__(
        self, app: web.Application, refuse: Refuse, rules: Rules, served: Served, shutdown_timeout: float
    ) -> None:
        """*shutdown_timeout*: seconds what is under way gets in `cleanup`; the rest as for `ClientConnections`."""
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._refuse = refuse
        self._rules = rules
        self._served = served

    @property
    def connections(self) -> ClientConnections:
        """Those of its clients, once it is set up."""
        return cast(ClientConnections, self.server)

    async def _make_server(self) -> ClientConnections:
        # aiohttp lets the class of an application's connections be chosen nowhere else.
        return ClientConnections(await super()._make_server(), self._refuse, self._rules, self._served)

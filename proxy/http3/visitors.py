"""
The connections of a door that are open: counted, by address too, and how many more there may be.

They are bounded by themselves, beside those over TCP. Who is let in how is `door`'s.
"""

import asyncio
from collections import Counter
from itertools import islice

from proxy.http.address import within
from proxy.http.connections import LOOKED_AT, Served
from proxy.http.files import affordable_connections
from proxy.http3.connection import ClientConnection
from proxy.settings.server import Server as Rules

H3 = "h3"
"""How metrics call them."""


class Visitors:
    """Those of one door."""

    def __init__(self, rules: Rules, served: Served) -> None:
        self._most = rules.max_connections or affordable_connections()
        self._most_of_one = rules.max_connections_per_address
        self._is_proxy = within(rules.trusted_proxies)
        self._served = served
        served.by_protocol[H3] = 0
        self._loop = asyncio.get_running_loop()
        # In the order they came.
        self._open: dict[ClientConnection, None] = {}
        self._of_address: Counter[str] = Counter()
        self._unconfirmed: set[ClientConnection] = set()
        self.gone = asyncio.Event()
        """None is open."""
        self.gone.set()

    @property
    def all(self) -> list[ClientConnection]:
        """The oldest first."""
        return list(self._open)

    @property
    def unconfirmed(self) -> int:
        """How many have not shown yet that they are where they say they are."""
        return len(self._unconfirmed)

    def has_room(self, address: str) -> bool:
        """Whether there may be one more from *address*; the oldest without a request makes room for it."""
        if not self._may_come(address):
            return False
        if len(self._open) < self._most:
            return True
        self._served.turned_away["all"] += 1
        dispensable = next((each for each in islice(self._open, LOOKED_AT) if each.idle and each.delivered), None)
        if dispensable is not None:
            dispensable.drop()
        return dispensable is not None

    def enter(self, connection: ClientConnection) -> None:
        """One more is open."""
        self._open[connection] = None
        self._unconfirmed.add(connection)
        self._served.by_protocol[H3] += 1
        self.gone.clear()

    def confirm(self, connection: ClientConnection) -> bool:
        """
        Its client is where it says it is; whether there may be one more from there. It counts from now on: before,
        another could use up what an address may have.
        """
        allowed = self._may_come(connection.address)
        self._unconfirmed.discard(connection)
        self._of_address[connection.address] += 1
        return allowed

    def _may_come(self, address: str) -> bool:
        if not self._most_of_one or self._of_address[address] < self._most_of_one or self._is_proxy(address):
            return True
        self._served.turned_away["address"] += 1
        return False

    def leave(self, connection: ClientConnection) -> None:
        """It is closed; may be told more than once."""
        if connection not in self._open:
            return
        del self._open[connection]
        self._served.by_protocol[H3] -= 1
        self._served.on_closed(H3, self._loop.time() - connection.opened)
        if connection in self._unconfirmed:
            self._unconfirmed.discard(connection)
        else:
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]
        if not self._open:
            self.gone.set()

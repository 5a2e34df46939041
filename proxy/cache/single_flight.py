"""
Identical calls under way share one upstream call.

Which calls those are is set by `deduplication.mode` and said in `question_key`; how an answer is shared, in `flight`.
"""

from functools import partial
from typing import Any, Literal

from proxy.cache.flight import Ask, Flight
from proxy.cache.question_key import has_effects, is_deterministic
from proxy.core.exchange import Exchange
from proxy.relay.client import Client
from proxy.relay.endpoints import Operation

Mode = Literal["off", "deterministic", "all"]


class SingleFlight:
    """The upstream calls under way that others may share."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._flights: dict[bytes, Flight] = {}
        self.shared_total = 0
        """Calls that were answered by another's upstream call."""

    def obey(self, mode: Mode) -> None:
        """Another mode for the calls that come from now on; they share nothing with those under way."""
        self._mode, self._flights = mode, {}

    def shares(self, asked: Operation, value: dict[str, Any]) -> bool:
        """Whether a POST with the JSON object *value* may share an upstream call with another that says the same."""
        if self._mode == "off" or not asked.generates:
            return False
        return (self._mode == "all" or is_deterministic(asked, value)) and not has_effects(value)

    def under_way(self, key: bytes) -> bool:
        """An upstream call for the same question can be joined now, see `question_key.key_of`."""
        flight = self._flights.get(key)
        return flight is not None and flight.joinable

    async def answer(self, key: bytes, exchange: Exchange, client: Client, ask: Ask) -> None:
        """
        Answer *exchange* towards *client* by the upstream call under way for *key*, else by one that is begun with
        *ask*. Raises as that does, and `ProxyError` for a client that was too slow for others it shared an answer with.
        """
        flight = self._flights.get(key)
        if flight is not None and flight.joinable:
            self.shared_total += 1
        else:
            flight = self._flights[key] = Flight(exchange, ask, partial(self._landed, key))
        await flight.carry(exchange, client)

    def _landed(self, key: bytes, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

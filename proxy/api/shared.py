"""
Calls that may share an upstream call with others that say the same: the key they share it by, and how they begin.

Who shares is decided in `cache.single_flight`; whether a call may begin at all, in `admission`.
"""

from typing import Any

from proxy.admission.admission import Admission
from proxy.admission.keyless import holder_of
from proxy.cache.question_key import key_of
from proxy.cache.single_flight import SingleFlight
from proxy.http.inbound import Inbound
from proxy.http.request import Request
from proxy.relay.endpoints import Operation


class Shared:
    """What the handlers of calls know of them."""

    def __init__(self, flights: SingleFlight, admission: Admission) -> None:
        self.flights = flights
        self._admission = admission

    def key(
        self,
        inbound: Inbound,
        asked: Operation,
        target: str,
        headers: bytes,
        patience: float | None,
        body: bytes,
        value: dict[str, Any],
    ) -> bytes | None:
        """
        What a POST shares its upstream call by; None where it has to have one of its own. *target*: the path below
        `/v1` with its query; the rest as for `key_of`.
        """
        if not self.flights.shares(asked, value) or _wants_its_own(inbound.request):
            return None
        return key_of(holder_of(inbound), target, headers, (patience, inbound.timeout), body, value)

    async def admit(self, inbound: Inbound, asked: Operation, prompt: int, most: int | None, key: bytes | None) -> None:
        """
        Let a call begin, as `Admission.admit` does. What an answer costs that another call has asked for, that call is
        charged: this one needs no tokens.
        """
        if key is None or not self.flights.under_way(key):
            await self._admission.admit(inbound, asked, prompt, most)
            return
        told = inbound.answer.extra_lines
        await self._admission.admit(inbound, asked, 0, 0)
        if not self.flights.under_way(key):
            # The other call has ended while this one waited to be admitted.
            inbound.answer.extra_lines = told
            await self._admission.admit(inbound, asked, prompt, most)


def _wants_its_own(request: Request) -> bool:
    """Whether the client asks for an answer that no other call has (RFC 9111 section 5.2.1)."""
    said = request.headers.get("cache-control")
    return said is not None and ("no-cache" in said.lower() or "no-store" in said.lower())

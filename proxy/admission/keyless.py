"""
What one client address may do without a key: ask the open pages, and try wrong keys.

Kept in this process only, and bounded however many addresses there are. Probes are not its business.
"""

import ipaddress
from functools import lru_cache

from proxy.accounts.principals import ANYONE
from proxy.admission import allowance
from proxy.core import clock
from proxy.http.inbound import Inbound
from proxy.limits.limit import Limit, Refusal, Reservation, What
from proxy.limits.memory import MemoryLimits
from proxy.settings.access import RateLimits


class Keyless:
    """The limits of every client address."""

    def __init__(self, rates: RateLimits, limits: MemoryLimits) -> None:
        self._limits = limits
        self._rates = rates

    def replace(self, rates: RateLimits) -> None:
        """Other limits from now on."""
        self._rates = rates

    def enter(self, address: str, what: str = "page") -> Reservation | None:
        """
        Count one request for *what*, a page or a try of a key, each by itself: wrong keys must not keep the address's
        health checks from theirs. `ProxyError` 429 when it is one too many. What it returns is for `leave`.
        """
        rates = self._rates
        if not rates.requests_per_minute and not rates.concurrent:
            return None
        holder = f"address:{network_of(address)}|{what}|"
        claims = []
        if rates.requests_per_minute:
            per_minute = rates.requests_per_minute
            claims.append((Limit(holder + What.REQUESTS, What.REQUESTS, per_minute, per_minute / 60), 1))
        if rates.concurrent:
            claims.append((Limit(holder + What.CONCURRENT, What.CONCURRENT, rates.concurrent), 1))
        decided = self._limits.reserve_now(claims, clock.now())
        if isinstance(decided, Refusal):
            raise allowance.refusal(decided, "This address's")
        return decided

    def leave(self, reservation: Reservation | None) -> None:
        """The request is over."""
        if reservation is not None:
            self._limits.settle(reservation, {}, clock.now())


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Whom an address stands for: itself, or the /64 of an IPv6 address, of which a single client has plenty."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return address


def holder_of(inbound: Inbound) -> str:
    """Who is limited: the principal, or where there are no keys each address by itself."""
    principal = inbound.principal
    if principal is ANYONE:
        return f"{principal.name}@{network_of(inbound.exchange.client_ip)}"
    return principal.name

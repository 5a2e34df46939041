"""
What one attempt of a call holds while it runs.

Facts only; `attempts` takes them and gives them back.
"""

import asyncio
from dataclasses import dataclass, field

from proxy.providers.breaker import Permit
from proxy.providers.target import Target
from proxy.relay.step import Try


@dataclass(slots=True)
class Entrant:
    """What an attempt holds while it runs."""

    step: Try[Target]
    permit: Permit | None
    key: int
    again: bool
    """Its target refused the usage option, perhaps, and is asked again without it."""
    total: float
    """Seconds it has: what its provider is given, or what is left of the call's time."""
    pump: asyncio.Task[None] | None = field(init=False, default=None)

"""
The workers that serve beside this one, as far as a page about the whole gateway needs them.

How they are reached is `worker`'s; a gateway of one process has none.
"""

from typing import Any, Protocol


class Peers(Protocol):
    """The workers that serve the same settings in other processes."""

    asker: str
    """The name of this one among them, empty where there is but one."""

    async def ask(self, what: str, of: Any = None) -> list[Any]:
        """
        What they answer to the question *what* about *of*, both plain JSON, in no order. One that does not answer in
        time is left out, but for `METRICS`, where the last it told stands in.
        """


class NoPeers:
    """There are no peers: one process serves."""

    asker = ""

    async def ask(self, what: str, of: Any = None) -> list[Any]:
        """Nothing."""
        return []


METRICS = "metrics"
"""Question: the families as `observe.merged.snapshot` has them; *of* is the asker's own."""
TRAIL = "trail"
"""Question: the decision trail of the request with the id *of*, or null."""
EVENTS = "events"
"""
Question: what happened there since the asker read it last; *of*: `read`, by worker the last event of it that was read,
and `since`, the moment from which on a worker tells that is not named there.
"""
PROVIDERS = "providers"
"""Question: what is thought of every provider, with the pid of the worker that thinks so."""
CLEAR = "clear"
"""
Command: let go the stored answers that only the worker asked holds; *of*: `model` and `key`, each null for any. The
answer says how many they were.
"""
ACT = "act"
"""Question: to do with a provider what an operator asks for, *of*: its `provider` and `action`; see `admin.actions`."""
LIVE = "live"
"""Command: to log and trace as an operator asks for, *of*: a `settings.live.LiveChange` as plain JSON."""
DRAINED = "drained"
"""Question: the names of the providers that are drained; it is the supervisor that answers."""
CALLS = "calls"
"""Question: the last calls there, *of*: the parameters of `GET /admin/calls`."""
SERIES = "series"
"""Question: what the calls there amount to, by minutes; *of*: what `admin.series_page` makes of its parameters."""
